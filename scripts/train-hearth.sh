#!/bin/sh
# Trains hearth again, from the data to assets/hearth: about an hour and a half on two cores. What is done is kept in the
# cache, so that the same command goes on where it was stopped. TOKENS and EXAMPLES make it smaller.
set -eu
cd "$(dirname "$0")/.."
. scripts/hearth-data.sh
tokens=${TOKENS:-21000000}
run="$cache/run-$examples-$tokens"
"$python" -m training.train --data "$data" --out "$run" --tokens "$tokens"
"$python" -m training.export --run "$run" --out assets/hearth
cp "$run/log.jsonl" assets/hearth/training-log.jsonl
"$python" -m training.evaluate --model assets/hearth --tasks "$data/heldout.jsonl"
echo "Other weights: \`cargo test built_in\` says which lengths and hashes belong into assets/catalog.toml."
