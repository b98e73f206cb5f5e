#!/bin/sh
# Tests the engine as built for aarch64, under QEMU: every kernel for NEON against the plain one, to the bit.
#     scripts/test-neon.sh [TEST...]
# Installs what it needs. What cargo makes is kept in the account's cache.
#
# With a rustup that offers the target this is plain cargo. Without it, Debian's rustc-web and rust-web-src build std
# from source, as in build-firmware.sh, which takes some minutes the first time.
set -eu
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/backports.sh"
. "$(dirname "$0")/left-out.sh"
. "$(dirname "$0")/targets.sh"

target=aarch64-unknown-linux-gnu
case $(uname -s)-$(uname -m) in
    Linux-aarch64)
        # Not emulated: the processor itself.
        cd "$(dirname "$0")/.."
        exec cargo test --locked -p whittle-engine --features std --lib --test fuzz --test golden -- "$@" ;;
    Linux-*) ;;
    *) left_out "the engine's tests for aarch64, which run on Linux"; exit 0 ;;
esac

install_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross
install_newer_packages qemu-user
add_target "$target" || install_packages rustc-web rust-web-src
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v $tool >/dev/null 2>&1 || { echo "install $tool, to link for aarch64 and to run it" >&2; exit 3; }
done

cd "$(dirname "$0")/.."
CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/whittle/neon
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
export CARGO_TARGET_DIR CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER
# Flags meant for the host are no flags for another processor.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

build_std=
if ! has_target "$target"; then
    if ! has_sources; then
        echo "install the target (rustup target add $target) or Debian's rustc-web and rust-web-src" >&2
        exit 3
    fi
    export RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc
    build_std=-Zbuild-std=std,panic_unwind,test
fi
cargo test --locked -p whittle-engine --features std --lib --test fuzz --test golden $build_std --target "$target" -- "$@"
