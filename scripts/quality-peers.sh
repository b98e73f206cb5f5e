#!/bin/sh
# quality-peers.sh WHITTLE [MODEL ..]: quality of llama.cpp's files beside Whittle's on the same windows of text, judged by
# llama.cpp; prints tables. Models: smollm2 twin hearth qwen; without any all of them, which takes two hours on two cores.
# FILES="a.whittle b.whittle" also measures packed files of the one model that is named.
#
# llama.cpp comes with scripts/peers.sh. Every row is kept in the cache, so that a second run goes on where one ended.
set -eu
whittle=$1
shift
cd "$(dirname "$0")/.."
. scripts/peers.sh
peer_program quality quality-driver
exec python3 scripts/quality_peers.py "$whittle" "$cache" "$@"
