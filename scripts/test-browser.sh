#!/bin/sh
# `just test-browser`: the tests of the page in a real Chromium, each file against a cluster of its own. Arguments are parts of the
# tests' names. What is missing is said: without Node 20 or Chromium nothing is tested and the exit status is 77.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

skipped() {
  echo "browser tests: SKIPPED, $1"
  exit 77
}

[ "${FAULTLINE_WEB:-}" != off ] || skipped 'FAULTLINE_WEB=off'
scripts/node.sh 'the page is not tested' || skipped 'Node 20 or newer with npm is missing'
FAULTLINE_CHROMIUM=${FAULTLINE_CHROMIUM:-$(command -v chromium || command -v chromium-browser || true)}
[ -x "$FAULTLINE_CHROMIUM" ] || skipped 'chromium is missing (Debian: apt-get install chromium)'
export FAULTLINE_CHROMIUM

scripts/web.sh
# With the tests' own crate, as scripts/test.sh builds: another set of crates would build the dependencies anew.
cargo build --release --locked --bins --quiet
scripts/npm-packages.sh tests/browser
scripts/npm-packages.sh services/dashboard/web

server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
FAULTLINE_BIN_DIR=$(scripts/target-dir.sh)/release
export PATH FAULTLINE_BIN_DIR
unset FAULTLINE_NATS_URL

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-browser-run.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

set -- ${1:+--test-name-pattern="$1"}
status=0
# One file at a time: each has a cluster and a browser, and the figures of the large page need the processors.
node --test --test-concurrency=1 --test-timeout=180000 --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=tap --test-reporter-destination="$work/report.tap" "$@" tests/browser/*.test.mjs || status=$?
count_of() { sed -n "s/^# $1 \([0-9]*\)$/\1/p" "$work/report.tap" | tail -n 1; }
echo "browser tests: $(count_of pass) passed, $(count_of fail) failed"
exit "$status"
