#!/bin/sh
# Trains hearth for few bits, from assets/hearth to assets/hearth-low-bit: under an hour on two cores. What is done is kept
# in the cache, so that the same command goes on where it was stopped. TOKENS and EXAMPLES make it smaller, RECIPE names
# other encodings.
set -eu
cd "$(dirname "$0")/.."
. scripts/hearth-data.sh
tokens=${TOKENS:-3000000}
recipe=${RECIPE:-training/low-bit.toml}
# A run goes on only with the weights and the recipe that it began with.
start=$(cat assets/hearth/model.safetensors "$recipe" | sha256sum | cut -c1-12)
run="$cache/low-bit-$examples-$tokens-$start"
"$python" -m training.qat --data "$data" --teacher assets/hearth --recipe "$recipe" --out "$run" --tokens "$tokens"
"$python" -m training.export --run "$run" --out assets/hearth-low-bit
cp "$run/log.jsonl" assets/hearth-low-bit/training-log.jsonl
"$python" -m training.evaluate --model assets/hearth-low-bit --tasks "$data/heldout.jsonl"
