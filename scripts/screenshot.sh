#!/bin/sh
# Writes assets/screenshot.png for the README: the real window with hearth on a virtual display.
# usage: screenshot.sh [path of whittle]
set -eu
cd "$(dirname "$0")/.."
whittle=${1:-${CARGO_TARGET_DIR:-target}/release/whittle}
scratch=$(mktemp -d)
Xvfb -displayfd 3 -screen 0 1400x900x24 +extension GLX -nolisten tcp 3>"$scratch/display" 2>/dev/null &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -rf "$scratch"' EXIT
while [ ! -s "$scratch/display" ]; do
    kill -0 "$server" # Ends the script if the server did not start.
    sleep 0.1
done
env -u WAYLAND_DISPLAY XDG_RUNTIME_DIR="$scratch" DISPLAY=":$(cat "$scratch/display")" LIBGL_ALWAYS_SOFTWARE=1 \
    "$whittle" studio hearth --ask "Turn on the kitchen light, please!" --screenshot "$scratch/window.png"
# Few colours are enough for a dark window, and keep the file small.
convert "$scratch/window.png" -strip -colors 255 "PNG8:assets/screenshot.png"
