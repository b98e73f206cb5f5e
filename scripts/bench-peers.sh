#!/bin/sh
# bench-peers.sh WHITTLE: speed beside llama.cpp and candle on this machine, on SmolLM2-135M and on random weights of
# Llama-3.2-1B's shape; prints a table. ROUNDS=3 makes it shorter, SECTIONS=speed (sparse, memory,
# busy) runs a part.
#
# llama.cpp comes inside the source archive of the Python package llama-cpp-python; it is built once (about
# 12 minutes on two cores) and kept in the cache. Runs are interleaved; each figure is a median.
set -eu
whittle=$1
cd "$(dirname "$0")/.."
root=$PWD
cache="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/peers"
mkdir -p "$cache"
for tool in cmake ninja g++ python3; do
  command -v "$tool" >/dev/null || { echo "bench-peers needs $tool (Debian: cmake ninja-build g++ python3)" >&2; exit 1; }
done
if [ ! -x "$cache/peer" ] || [ benches/peers/peer.cpp -nt "$cache/peer" ]; then
  cd "$cache"
  [ -e llama_cpp_python-0.3.36.tar.gz ] || python3 -m pip download --quiet --no-binary :all: --no-deps llama-cpp-python==0.3.36
  [ -d llama_cpp_python-0.3.36 ] || tar xf llama_cpp_python-0.3.36.tar.gz
  source=llama_cpp_python-0.3.36/vendor/llama.cpp
  cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DBUILD_SHARED_LIBS=OFF "$source" >/dev/null
  ninja -C build llama
  library() { find build -name "$1" | head -n 1; }
  g++ -O3 -march=native -std=c++17 -I"$source/include" -I"$source/ggml/include" "$root/benches/peers/peer.cpp" -o peer \
    "$(library libllama.a)" "$(library libggml.a)" "$(library libggml-cpu.a)" "$(library libggml-base.a)" \
    -fopenmp -lpthread -ldl -lm
  cd "$root"
fi
if [ ! -x "$cache/candle-peer" ]; then
  RUSTFLAGS="-Ctarget-cpu=native" CARGO_TARGET_DIR="$cache/candle-target" \
    cargo build --release --manifest-path benches/peers/candle/Cargo.toml
  cp "$cache/candle-target/release/candle-peer" "$cache/candle-peer"
fi
if [ ! -x "$cache/python/bin/python" ]; then
  python3 -m venv "$cache/python"
  "$cache/python/bin/pip" install --quiet gguf numpy
fi
exec python3 scripts/bench_peers.py "$whittle" "$cache" ${SECTIONS:-}
