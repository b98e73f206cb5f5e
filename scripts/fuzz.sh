#!/bin/sh
# fuzz.sh [TARGET] [SECONDS]: lets libFuzzer look for bytes that the engine mistakes: `packed` (the default) files,
# `matrix` or `tokenizer`; or that hosts and boards do: `line`. What it learns stays in fuzz/target/corpus, what breaks something in fuzz/target/found.
set -eu
target=${1:-packed}
seconds=${2:-3600}
cd "$(dirname "$0")/.."

if ! cargo fuzz --version >/dev/null 2>&1; then
  cargo install cargo-fuzz --version 0.13.2 --locked
fi
# Sanitizers are an option of the nightly compiler; the stable one has it too, hidden.
export RUSTC_BOOTSTRAP=1
# Without the address sanitizer where its library is not installed.
host=$(rustc -vV | sed -n 's/^host: //p')
sanitizer=none
if ls "$(rustc --print sysroot)/lib/rustlib/$host/lib/" | grep -q 'rt\.asan\.'; then
  sanitizer=address
fi
learned=fuzz/target/corpus/$target
found=fuzz/target/found/
mkdir -p "$learned" "$found"
echo "$target for $seconds seconds, sanitizer: $sanitizer" >&2
exec cargo fuzz run --sanitizer "$sanitizer" --target-dir fuzz/target/build "$target" "$learned" "fuzz/corpus/$target" -- \
  -max_total_time="$seconds" -max_len=8192 -len_control=0 -timeout=10 -rss_limit_mb=1024 -artifact_prefix="$found"
