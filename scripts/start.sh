#!/bin/sh
# start.sh WHITTLE: opens the studio, or without a display runs the same tour on the command line.
set -eu
whittle=$1
if [ "$(uname -s)" = Linux ] && [ -z "${DISPLAY:-}" ] && [ -z "${WAYLAND_DISPLAY:-}" ]; then
  echo "There is no display: running \`whittle demo\` instead of the window." >&2
  exec "$whittle" demo
fi
exec "$whittle"
