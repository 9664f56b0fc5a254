#!/bin/sh
# `just up`, `just demo`: builds page and programs, makes sure of a nats-server, and becomes `faultline` with these arguments, so that signals
# and the exit status are its own.
set -eu
cd -- "$(dirname -- "$0")/.."
scripts/web.sh
cargo build --release --locked --workspace --exclude faultline-tests --exclude faultline-test-container --exclude faultline-simulation --bins
server=$(scripts/nats-server.sh)
# `faultline` takes the server from PATH; in front, since an older one may lie there too.
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
exec "$(scripts/target-dir.sh)/release/faultline" "$@"
