#!/bin/sh
# Licences, sources and duplicate versions of the dependencies; spelling.
set -eu
cd "$(dirname "$0")/.."
. scripts/left-out.sh
tools=$(sh scripts/install-lint.sh)
PATH="${tools:+$tools:}$PATH"

if command -v cargo-deny >/dev/null 2>&1; then
  # Crates of other platforms are looked at too.
  cargo fetch --locked --quiet
  # Advisories need the network: the workflow on the forge checks them.
  cargo deny --offline check licenses bans sources
else
  left_out "licences and sources, because cargo-deny is not installed"
fi
if command -v typos >/dev/null 2>&1; then
  typos
else
  left_out "spelling, because typos is not installed"
fi
