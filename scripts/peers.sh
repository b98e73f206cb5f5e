# Builds llama.cpp for the scripts that measure beside it; sets `cache`. To be sourced from the top folder.
#
# It comes inside the source archive of the Python package llama-cpp-python; built once (about 12 minutes on two cores),
# it is kept in the cache.
root=$PWD
cache="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/peers"
mkdir -p "$cache"
for tool in cmake ninja g++ python3; do
  command -v "$tool" >/dev/null || { echo "this needs $tool (Debian: cmake ninja-build g++ python3)" >&2; exit 1; }
done
if [ ! -x "$cache/python/bin/python" ]; then
  python3 -m venv "$cache/python"
  "$cache/python/bin/pip" install --quiet gguf numpy
fi

# peer_program SOURCE PROGRAM: compiles benches/peers/SOURCE.cpp to PROGRAM in the cache, if it is newer.
peer_program() {
  [ ! -x "$cache/$2" ] || [ "benches/peers/$1.cpp" -nt "$cache/$2" ] || return 0
  cd "$cache"
  [ -e llama_cpp_python-0.3.36.tar.gz ] || python3 -m pip download --quiet --no-binary :all: --no-deps llama-cpp-python==0.3.36
  [ -d llama_cpp_python-0.3.36 ] || tar xf llama_cpp_python-0.3.36.tar.gz
  source=llama_cpp_python-0.3.36/vendor/llama.cpp
  if [ -z "$(find build -name libllama.a 2>/dev/null)" ]; then
    cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
      -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF -DBUILD_SHARED_LIBS=OFF "$source" >/dev/null
    ninja -C build llama
  fi
  library() { find build -name "$1" | head -n 1; }
  g++ -O3 -march=native -std=c++17 -I"$source/include" -I"$source/ggml/include" "$root/benches/peers/$1.cpp" -o "$2" \
    "$(library libllama.a)" "$(library libggml.a)" "$(library libggml-cpu.a)" "$(library libggml-base.a)" \
    -fopenmp -lpthread -ldl -lm
  cd "$root"
}
