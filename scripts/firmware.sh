#!/bin/sh
# Builds firmware from source, every board's or those that are named, and compares what comes along with it:
#     scripts/firmware.sh [BOARD...]
# All are built before the first is compared, so that who changes a firmware has it in any case.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- esp32c3 esp32c6 esp32p4 linux qemu-virt
list=$(mktemp)
trap 'rm -f "$list"' EXIT
for board do
    elf=$(sh scripts/build-firmware.sh "$board")
    echo "$elf" >>"$list"
done
cat "$list"
status=0
while read -r elf; do
    case $elf in
        */whittle-linux) committed=assets/firmware/linux-aarch64 ;;
        *) committed=assets/firmware/${elf##*/whittle-}.elf ;;
    esac
    if [ -f "$committed" ]; then
        sh scripts/compare-firmware.sh "$committed" "$elf" || status=1
    fi
done <"$list"
exit $status
