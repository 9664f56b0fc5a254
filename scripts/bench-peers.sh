#!/bin/sh
# `just bench-peers`: builds the programs of tests/peers, a package outside the workspace, and measures the services and them in turns on
# the same machine and the same NATS; then how long a job of one second is away whose worker is killed. Arguments go to the bench.
set -eu
cd -- "$(dirname -- "$0")/.."
target=$(scripts/target-dir.sh)/peers
CARGO_TARGET_DIR=$target cargo build --release --locked --manifest-path tests/peers/Cargo.toml
scripts/bench.sh bench --peer "$target/release/faultline-peers" "$@"
exec scripts/bench.sh bench_recovery --only sigkill --rounds 10
