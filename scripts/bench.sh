#!/bin/sh
# `just bench`: builds everything in release mode, makes sure of a nats-server on PATH, and becomes the bench.
set -eu
cd -- "$(dirname -- "$0")/.."
cargo build --release --locked --workspace --bins
server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
exec "$(scripts/target-dir.sh)/release/bench" "$@"
