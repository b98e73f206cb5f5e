#!/bin/sh
# bench-peers.sh WHITTLE: speed beside llama.cpp and candle on this machine, on SmolLM2-135M and on random weights of
# Llama-3.2-1B's shape; prints a table. ROUNDS=3 makes it shorter, SECTIONS=speed (sparse, memory,
# busy) runs a part.
#
# llama.cpp comes with scripts/peers.sh. Runs are interleaved; each figure is a median.
set -eu
whittle=$1
cd "$(dirname "$0")/.."
. scripts/peers.sh
peer_program peer peer
if [ ! -x "$cache/candle-peer" ]; then
  RUSTFLAGS="-Ctarget-cpu=native" CARGO_TARGET_DIR="$cache/candle-target" \
    cargo build --release --manifest-path benches/peers/candle/Cargo.toml
  cp "$cache/candle-target/release/candle-peer" "$cache/candle-peer"
fi
exec python3 scripts/bench_peers.py "$whittle" "$cache" ${SECTIONS:-}
