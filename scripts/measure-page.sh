#!/bin/sh
# `just measure-page`: what the page costs a browser that stays open, and what it costs the service behind it. Arguments go to measure.mjs.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

scripts/node.sh 'the page cannot be built' || exit 1
FAULTLINE_CHROMIUM=${FAULTLINE_CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
[ -x "$FAULTLINE_CHROMIUM" ] || { echo 'measure-page: chromium is missing (Debian: apt-get install chromium)' >&2; exit 1; }
scripts/web.sh
cargo build --release --locked --bins --quiet
scripts/npm-packages.sh tests/browser

server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
FAULTLINE_BIN_DIR=$(scripts/target-dir.sh)/release
export PATH FAULTLINE_BIN_DIR FAULTLINE_CHROMIUM
unset FAULTLINE_NATS_URL
exec node tests/browser/measure.mjs "$@"
