#!/bin/sh
# Tests training/ with the versions that its requirements pin.
set -eu
cd "$(dirname "$0")/.."
. scripts/training-python.sh
"$python" -m pytest -q -p no:cacheprovider training/tests
