#!/bin/sh
# Prints the crates in a board's firmware, one a line: name, version, licence as SPDX has it.
#     scripts/firmware-crates.sh esp32c3|esp32c6|esp32p4|linux-aarch64 >assets/firmware/BOARD.crates
# The software bill of what a board is given is made of it (src/link/bill.rs).
set -eu
board=${1:?usage: scripts/firmware-crates.sh BOARD}
crate=esp-riscv features="--features $board"
case $board in
    esp32c3) target=riscv32imc-unknown-none-elf ;;
    esp32c6) target=riscv32imac-unknown-none-elf ;;
    esp32p4) target=riscv32imafc-unknown-none-elf ;;
    linux-aarch64) crate=linux features='' target=aarch64-unknown-linux-musl ;;
    *) echo "no firmware for $board" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/../firmware/boards/$crate"
# The option and its value are two words.
# shellcheck disable=SC2086
cargo tree --locked -e normal,no-proc-macro --prefix none -f '{p}|{l}' --target "$target" $features |
    sed -e 's/ (\*)//' -e 's/ ([^)]*)//' -e 's/ v/|/' -e 's#/# OR #g' -e 's/ \{2,\}/ /g' |
    LC_ALL=C sort -u |
    tr '|' ' '
