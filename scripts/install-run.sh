#!/bin/sh
# Installs the system packages to build Whittle and to open its window. Does nothing when all are present.
set -eu
. "$(dirname "$0")/apt.sh"

if [ "$(uname -s)" = Linux ]; then
  command -v cc >/dev/null 2>&1 || install_packages gcc libc6-dev
  # Sound to build; X11, Wayland and OpenGL are opened by name at run time.
  install_packages make pkg-config libasound2-dev libx11-6 libx11-xcb1 libxcursor1 libxi6 libxkbcommon0 \
    libxkbcommon-x11-0 libgl1 libegl1
  # Models that no hub can be reached for come from the Python package index, through pip.
  python3 -m pip --version >/dev/null 2>&1 || install_packages python3 python3-pip
fi

command -v cargo >/dev/null 2>&1 || {
  echo "Rust is missing: install it from https://rustup.rs, then run this again." >&2
  exit 1
}
