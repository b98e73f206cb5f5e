#!/bin/sh
# Builds the firmware of one board family and prints the path of its ELF file:
#     scripts/build-firmware.sh esp32c3|esp32c6|esp32p4|esp32|esp32s3|linux|qemu-virt [TARGET]
# TARGET is for qemu-virt, whose processor can be any: riscv32imafc-unknown-none-elf counts the
# instructions of a core with floating point.
# What cargo makes is kept in the account's cache: the engine is compiled once for all boards of a target.
#
# With a rustup that has the target installed this is plain cargo. Without it, Debian's rustc-web
# and rust-web-src build core and alloc from source:
#     apt-get install -y --no-install-recommends rustc-web rust-web-src
# and for linux std, beside the C library that install-test.sh unpacks.
# The ESP32 and the ESP32-S3 have Xtensa processors, which Espressif's compiler is for: espup installs it.
set -eu

. "$(dirname "$0")/targets.sh"
board=${1:?usage: scripts/build-firmware.sh BOARD}
# A chip as its maker writes it.
case $board in esp32-*) board=esp32${board#esp32-} ;; esac
# As boards are called here and as esp-hal calls chips: esp32-s3, esp32s3.
case $board in
    esp32-*) board=esp32${board#esp32-} ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
case $board in
    esp32c3) crate=esp-riscv target=riscv32imc-unknown-none-elf ;;
    esp32c6) crate=esp-riscv target=riscv32imac-unknown-none-elf ;;
    esp32p4) crate=esp-riscv target=riscv32imafc-unknown-none-elf ;;
    esp32 | esp32s3) crate=esp-xtensa target=xtensa-$board-none-elf ;;
    qemu-virt) crate=qemu-virt target=${2:-riscv32imc-unknown-none-elf} ;;
    linux) crate=linux target=aarch64-unknown-linux-musl ;;
    *) echo "no firmware for $board" >&2; exit 2 ;;
esac
if [ "$crate" = esp-xtensa ]; then
    if ! rustup run esp rustc --version >/dev/null 2>&1; then
        echo "install Espressif's compiler: cargo install espup --locked && espup install, then . ~/export-esp.sh" >&2
        exit 3
    fi
    # The compiler of every command below.
    export RUSTUP_TOOLCHAIN=esp
fi
cd "$root/firmware/boards/$crate"
# The boards of a crate are its features.
features=
[ "$crate" = "$board" ] || features="--features $board"
CARGO_TARGET_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/whittle/firmware
export CARGO_TARGET_DIR
# Flags meant for the host are no flags for a board.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
# The firmware names no folder of this machine. Added to the flags of .cargo/config.toml.
flags="--remap-path-prefix=$root=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
# Where a registry is mirrored its sources lie in a folder of another name; they have one once they are fetched.
cargo fetch --locked --quiet --target "$target" >&2
for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    flags="$flags --remap-path-prefix=$registry=cargo/registry"
done
# The same bytes from whatever folder.
WHITTLE_ROOT=$root RUSTC_WRAPPER=$root/scripts/rustc-anywhere.sh
export WHITTLE_ROOT RUSTC_WRAPPER
# The application descriptor names no time of day.
export SOURCE_DATE_EPOCH=0
variable=CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_RUSTFLAGS

# Debian's rustc ships no linker of its own; rustup's speaks for any version.
linker() {
    found=$(find "$(rustc --print sysroot)" -name rust-lld -type f | head -n 1)
    echo "${found:-$(command -v ld.lld || command -v ld.lld-22)}"
}

if [ "$crate" = esp-xtensa ]; then
    # Its own compiler has the sources of core, and its linker comes from export-esp.sh.
    flags="$flags --remap-path-prefix=$(rustc --print sysroot)=rust"
    env "$variable=$flags" cargo build --locked --release $features -Zbuild-std=core,alloc --target "$target" >&2
elif has_target "$target"; then
    # This machine's own linker links for this machine.
    [ "$board" != linux ] || flags="$flags -Clinker=$(linker) -Clinker-flavor=ld.lld"
    env "$variable=$flags" cargo build --locked --release $features --target "$target" >&2
elif has_sources; then
    flags="$flags -Clinker=$(linker) -Clinker-flavor=gnu-lld -Zunstable-options"
    std=-Zbuild-std=core,alloc
    if [ "$board" = linux ]; then
        musl=$(musl_folder)
        if [ ! -f "$musl/libc.a" ]; then
            echo "install the C library for $target: scripts/install-test.sh" >&2
            exit 3
        fi
        # std asks for a library that unwinds. Nothing here does: a panic ends the program, and std's backtraces,
        # which would, are its only feature.
        std="-Zbuild-std=std,panic_abort -Zbuild-std-features="
        printf '!<arch>\n' >"$musl/libunwind.a"
        flags="$flags -Clink-self-contained=no -Ctarget-feature=+crt-static -Lnative=$musl"
        for object in crt1.o crti.o crtn.o; do
            flags="$flags -Clink-arg=$musl/$object"
        done
    fi
    # The options of std are several words.
    # shellcheck disable=SC2086
    env "$variable=$flags" RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        cargo build --locked --release $features $std --target "$target" >&2
else
    echo "install the target (rustup target add $target) or Debian's rustc-web and rust-web-src" >&2
    exit 3
fi
elf=$CARGO_TARGET_DIR/$target/release/whittle-$board
[ "$crate" = "$board" ] || cp "$CARGO_TARGET_DIR/$target/release/whittle-$crate" "$elf"
echo "$elf"
