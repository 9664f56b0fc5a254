#!/bin/sh
# `just chaos`: builds everything in release mode, makes sure of the pinned nats-server, and becomes the chaos suite.
set -eu
cd -- "$(dirname -- "$0")/.."
cargo build --release --locked --bins
scripts/nats-server.sh pinned >/dev/null
# A container's restart takes longer than a process', and kill -9 is the same.
FAULTLINE_TEST_NATS=${FAULTLINE_TEST_NATS:-process}
export FAULTLINE_TEST_NATS
exec "$(scripts/target-dir.sh)/release/chaos" "$@"
