#!/bin/sh
# Builds the firmware of one board family: scripts/build-firmware.sh esp32c3
# The ELF file ends up in firmware/boards/BOARD/target/ (or CARGO_TARGET_DIR); its path is printed.
#
# With a rustup that has the target installed this is plain cargo. Without it, Debian's rustc-web
# and rust-web-src build core and alloc from source:
#     apt-get install -y --no-install-recommends rustc-web rust-web-src
set -eu

board=${1:?usage: scripts/build-firmware.sh BOARD}
cd "$(dirname "$0")/../firmware/boards/$board"
case $board in
    esp32c3) target=riscv32imc-unknown-none-elf ;;
    *) echo "no firmware for $board" >&2; exit 2 ;;
esac
out=${CARGO_TARGET_DIR:-target}
# The same source gives the same bytes wherever it is checked out.
# Added to those of .cargo/config.toml.
flags="--remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_RUSTFLAGS

if [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
    env "$variable=$flags" cargo build --release --target "$target"
elif ls -d /usr/src/rustc-*/library >/dev/null 2>&1; then
    # Debian's rustc ships no linker of its own; rustup's speaks for any version.
    linker=$(find "$(rustc --print sysroot)" -name rust-lld -type f | head -n 1)
    linker=${linker:-$(command -v ld.lld || command -v ld.lld-22)}
    env "$variable=$flags -Clinker=$linker -Clinker-flavor=gnu-lld -Zunstable-options" \
        RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        cargo build --release -Zbuild-std=core,alloc --target "$target"
else
    echo "install the target (rustup target add $target) or Debian's rustc-web and rust-web-src" >&2
    exit 1
fi
echo "$out/$target/release/whittle-$board"
