#!/bin/sh
# `just test-containers`: the composed cluster on a real engine, scaled and killed under load. The images are packed from this machine's
# release programs, so nothing is pulled. What is missing is said: without an engine or Compose nothing is tested, and the exit status is 77.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

skipped() {
  echo "container tests: SKIPPED, $1"
  exit 77
}

[ "$(uname -s)" = Linux ] || skipped 'they need Linux'
command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 || skipped 'no container engine answers'
docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1 ||
  skipped 'Compose is missing (Debian: apt-get install docker-compose)'

cargo build --release --locked --bins --quiet
status=0
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --release --locked --run-ignored only --no-capture -E 'binary(containers)' || status=$?
else
  cargo test --release --locked --test containers -- --ignored --nocapture || status=$?
fi
if [ "$status" -eq 0 ]; then outcome='1 passed, 0 failed'; else outcome='0 passed, 1 failed'; fi
echo "container tests: $outcome"
exit "$status"
