#!/bin/sh
# Whether an image that comes along is what the sources give:
#     scripts/compare-firmware.sh COMMITTED REBUILT
# Byte for byte, where both say the same compiler and the same engine. An image is renewed once for a change, not at each
# step of it: one of an older engine is told and is no failure, but for a release (WHITTLE_RELEASE=1).
set -eu
committed=${1:?usage: scripts/compare-firmware.sh COMMITTED REBUILT}
rebuilt=${2:?usage: scripts/compare-firmware.sh COMMITTED REBUILT}

# The compiler that a program names.
compiler() {
    tr '\0' '\n' <"$1" | LC_ALL=C grep -a '^rustc version' | head -n 1 || true
}

# numbers FILE OFFSET BYTES SIZE: so many bytes in hexadecimal, in numbers of this size.
numbers() {
    od -An -v -j "$2" -N "$3" -t "x$4" "$1" | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# The digests of a program's engine and of what every board runs, in the layout of firmware/engine/src/stamp.rs.
sources() {
    LC_ALL=C grep -abo 'WHITTLE FIRMWARE' "$1" | cut -d : -f 1 | while read -r at; do
        if [ "$(numbers "$1" $((at + 16)) 4 4)" = 00000001 ]; then
            numbers "$1" $((at + 32)) 16 8
            break
        fi
    done
}

here=$(sources "$rebuilt")
there=$(sources "$committed")
if [ -z "$here" ]; then
    echo "$rebuilt does not say which engine is in it" >&2
    exit 1
elif [ "$here" != "$there" ]; then
    echo "$committed is older than the sources (engine and app $there, here $here): not compared"
    [ "${WHITTLE_RELEASE:-0}" = 0 ] || exit 1
elif [ "$(compiler "$committed")" != "$(compiler "$rebuilt")" ]; then
    echo "$committed was built by $(compiler "$committed"), here is $(compiler "$rebuilt"): not compared"
    [ "${WHITTLE_RELEASE:-0}" = 0 ] || exit 1
elif cmp -s "$committed" "$rebuilt"; then
    echo "$committed is what the sources give, byte for byte"
else
    hash=$(sha256sum "$rebuilt" | cut -d ' ' -f 1)
    echo "$committed is not what the sources give: cp $rebuilt $committed, and its line in assets/firmware/README.md has the hash $hash" >&2
    exit 1
fi
