#!/bin/sh
# Runs the slow tests, and fails unless each of tests/slow/tests.txt passed: a test that is ignored, filtered out or no
# longer compiled is as red as one that fails.
set -eu
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log" "$log.passed"' EXIT

# What measures time or waits for a picture to stand still has the machine for itself: a slider's delay, the window, a
# conversation through a microphone.
alone="preview:: window:: kept:: voice::a_conversation_through_microphone_and_loudspeaker"

# A core for an emulator, which has one, beside a core for whatever else runs.
# shellcheck disable=SC2046,SC2086
cargo test --test slow -- --test-threads=2 $(printf -- '--skip %s ' $alone) 2>&1 | tee "$log"
# shellcheck disable=SC2086
cargo test --test slow -- --test-threads=1 $alone 2>&1 | tee -a "$log"

# "test NAME ... ok"; with one thread what a test's own processes print may stand before the "ok".
awk '/^test [^ ]+ \.\.\./ { name = $2 } name != "" && /(^| )ok$/ { print name; name = "" }' "$log" |
  LC_ALL=C sort -u >"$log.passed"
if grep -q '^test result: FAILED' "$log" || ! diff tests/slow/tests.txt "$log.passed" >&2; then
  echo "slow tests: < did not pass, > is not in tests/slow/tests.txt" >&2
  exit 1
fi
echo "slow tests: all $(wc -l <"$log.passed") passed"
