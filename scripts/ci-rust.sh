#!/bin/sh
# ci-rust.sh [COMPONENT...]: the forge's runners come with a Rust of their own; this installs the version that Cargo.toml
# names, and has the steps that follow use it.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rustup toolchain install "$version" --profile minimal --no-self-update
[ $# -eq 0 ] || rustup component add --toolchain "$version" "$@"
echo "RUSTUP_TOOLCHAIN=$version" >>"$GITHUB_ENV"
