#!/bin/sh
# `just scenarios [N]`: runs every scenario that comes with the program N times (once when left out) and prints a table. The seeds are
# 1 to N, so that a run can be repeated: `faultline scenario run NAME --seed K`. Exit code 5 when one did not pass.
set -eu
cd -- "$(dirname -- "$0")/.."
times=${1:-1}
case $times in '' | *[!0-9]* | 0) echo "scenarios: invalid number of runs \`$times\`" >&2 && exit 2 ;; esac
cargo build --release --locked --workspace --exclude faultline-tests --exclude faultline-test-container --exclude faultline-simulation --bins
server=$(scripts/nats-server.sh)
[ -z "$server" ] || PATH=$(dirname -- "$server"):$PATH
faultline=$(scripts/target-dir.sh)/release/faultline
log=$(mktemp "${TMPDIR:-/tmp}/faultline-scenarios.XXXXXX")
trap 'rm -f -- "$log"' EXIT
failed=0
printf '%-20s %6s %8s  %s\n' SCENARIO SEED RESULT 'WHAT IT SAYS'
for name in $("$faultline" scenario ls | awk 'NR > 1 { print $1 }'); do
  seed=1
  while [ "$seed" -le "$times" ]; do
    result=passed
    "$faultline" scenario run "$name" --seed "$seed" >"$log" 2>&1 || { result=FAILED && failed=$((failed + 1)); }
    printf '%-20s %6s %8s  %s\n' "$name" "$seed" "$result" "$(tail -n 1 "$log")"
    [ "$result" = passed ] || sed 's/^/    /' "$log" >&2
    seed=$((seed + 1))
  done
done
[ "$failed" -eq 0 ] || { echo "$failed runs did not pass" >&2 && exit 5; }
