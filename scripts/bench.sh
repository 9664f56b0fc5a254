#!/bin/sh
# `just bench`, `just bench-recovery`, `just attack` and the like: builds everything in release mode, makes sure of a nats-server on PATH, and becomes the
# program that is named first.
set -eu
cd -- "$(dirname -- "$0")/.."
bench=$1
shift
cargo build --release --locked --bins
server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
exec "$(scripts/target-dir.sh)/release/$bench" "$@"
