#!/bin/sh
# Interprets the engine's tests of its unsafe code with Miri, which finds undefined behaviour: threads of the pool that
# borrow what a call borrows, and the plain kernels. Needs a nightly compiler, of which rustup brings one.
#     scripts/miri.sh [TEST...]
set -eu
cd "$(dirname "$0")/.."
nightly=${NIGHTLY:-nightly}
cargo "+$nightly" miri --version >/dev/null 2>&1 ||
  rustup toolchain install "$nightly" --profile minimal --component miri --component rust-src --no-self-update
[ $# -gt 0 ] || set -- pool::
# The pool asks for the time and the number of processors.
export MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}"
export CARGO_TARGET_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/miri"
exec cargo "+$nightly" miri test --locked -p whittle-engine --features std --lib -- "$@"
