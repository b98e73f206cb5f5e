#!/bin/sh
# Prints the folder of cargo-mutants, compiling it there once: some minutes. Prints nothing where it is on the path.
set -eu
version=27.1.0
tools="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/tools/mutants"

if command -v cargo-mutants >/dev/null 2>&1; then
  exit 0
fi
if [ ! -x "$tools/bin/cargo-mutants" ]; then
  # Flags and folders of the project's own build are none of this tool's.
  env -u RUSTFLAGS -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$tools" --version "$version" cargo-mutants >&2
fi
echo "$tools/bin"
