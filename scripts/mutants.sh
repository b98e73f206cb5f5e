#!/bin/sh
# mutants.sh [BASE]: puts bugs into what differs from BASE (main), one at a time, and names those that no test notices.
#     mutants.sh --sample COUNT SEED FILE...: into COUNT places of these files, the same for the same seed.
# Ends after MINUTES (40); the same command goes on where it stopped. What survives stands in
# ~/.cache/whittle/mutants/RUN/PACKAGE/mutants.out/missed.txt: it wants a better test, or a reason in docs/testing.md.
set -eu
cd "$(dirname "$0")/.."
tools=$(sh scripts/install-mutants.sh)
PATH="${tools:+$tools:}$PATH"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/whittle/mutants"
minutes=${MINUTES:-40}
# Only the package is compiled again for each bug, and only what it changes.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}" CARGO_INCREMENTAL=1
deadline=$(($(date +%s) + 60 * minutes))

# list PACKAGE FILTER...: what could be done to a package.
list() {
  package=$1
  shift
  cargo mutants --list --package "$package" "$@"
}

# Every so-manyth line of COUNT, from SEED on, as patterns that match it alone.
sample() {
  awk -v count="$1" -v seed="$2" '{ line[NR - 1] = $0 } END {
    step = NR / count
    if (step < 1) step = 1
    for (i = 0; i < count && i < NR; i++) print line[(int(i * step) + seed) % NR]
  }' | sed 's/[][\\.*^$+?(){}|]/\\&/g; s/^/^/; s/$/$/'
}

# run PACKAGE FILTER... -- TEST...: until all is done or the time is over.
run() {
  package=$1
  shift
  left=$((deadline - $(date +%s)))
  [ "$left" -gt 0 ] || { echo "the time is over: run it again to go on" >&2; exit 3; }
  mkdir -p "$work/$package"
  status=0
  timeout --signal=INT "$left" cargo mutants --package "$package" --output "$work/$package" --iterate --no-shuffle \
    --minimum-test-timeout 60 "$@" || status=$?
  case $status in
    # 2: some were missed. 3: some took too long, which a test would notice.
    0 | 2 | 3) ;;
    *) [ "$(date +%s)" -lt "$deadline" ] || { echo "the time is over: run it again to go on" >&2; exit 3; }
       exit $status ;;
  esac
  missed="$missed $work/$package/mutants.out/missed.txt"
}

# run_all FILTER...: both packages, each with the tests that look at its numbers.
run_all() {
  missed=
  if [ -n "$(list whittle-engine "$@")" ]; then
    run whittle-engine --features std "$@" -- --lib --test golden --test fuzz
  fi
  if [ -n "$(list whittle-studio "$@")" ]; then
    run whittle-studio --no-default-features "$@" -- --lib --test golden --test pipeline --test calibrated --test tune
  fi
}

if [ "${1:-}" = --sample ]; then
  count=$2
  seed=$3
  shift 3
  work="$cache/sample-$count-$seed"
  mkdir -p "$work"
  if [ ! -s "$work/chosen.txt" ]; then
    for file in "$@"; do
      cargo mutants --list --workspace --file "$file"
    done | sample "$count" "$seed" >"$work/chosen.txt"
  fi
  # The files again: bugs of the kind "delete field" ignore the patterns (cargo-mutants 27), and would come from any file.
  for file in "$@"; do
    shift
    set -- "$@" --file "$file"
  done
  while IFS= read -r pattern; do
    set -- "$@" --re "$pattern"
  done <"$work/chosen.txt"
  run_all "$@"
else
  base=${1:-main}
  work="$cache/change"
  mkdir -p "$work"
  git diff "$(git merge-base "$base" HEAD)" -- '*.rs' >"$work/change.diff"
  run_all --in-diff "$work/change.diff"
fi
# What no test noticed.
for file in $missed; do
  sed 's/^/missed: /' "$file"
done
