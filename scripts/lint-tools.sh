#!/bin/sh
# Licences, sources and duplicate versions of the dependencies; spelling.
set -eu
tools=$(sh "$(dirname "$0")/install-lint.sh")
PATH="${tools:+$tools:}$PATH"

if command -v cargo-deny >/dev/null 2>&1; then
  # Crates of other platforms are looked at too.
  cargo fetch --locked --quiet
  # Advisories need the network: the workflow on the forge checks them.
  cargo deny --offline check licenses bans sources
else
  echo "cargo-deny is not installed: licences and sources were not checked" >&2
fi
if command -v typos >/dev/null 2>&1; then
  typos
else
  echo "typos is not installed: spelling was not checked" >&2
fi
