#!/bin/sh
# The compiler as scripts/build-firmware.sh calls it (cargo's RUSTC_WRAPPER): the same bytes from whatever folder.
# cargo makes a package's disambiguator, by which symbols are named and functions ordered, of the folder that it lies in,
# unless that is inside of its workspace. The packages of this tree are named by what they are instead; those of a registry
# have no folder in theirs.
set -eu

case ${CARGO_MANIFEST_DIR:-} in
    "$WHITTLE_ROOT"/*)
        name=$CARGO_PKG_NAME-$CARGO_PKG_VERSION
        # Each argument is taken from the front and put at the end.
        for argument do
            shift
            case $argument in
                metadata=*) set -- "$@" "metadata=$name" ;;
                *) set -- "$@" "$argument" ;;
            esac
        done
        ;;
esac
exec "$@"
