#!/bin/sh
# `just test-dist`: makes the wheel, installs it in a new venv, and runs the installed cluster in an empty folder, with nothing else on PATH
# than the system's folders: nodes come alive, a job is committed, the page is served, the audit is clean, and it stops when told to.
# Exit code 77, with the reason, where there is no Python or no way to PyPI. The last line is the result.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-test-dist.XXXXXX")
up=
finish() {
  [ -z "$up" ] || kill -TERM "$up" 2>/dev/null || true
  [ -z "$up" ] || wait "$up" 2>/dev/null || true
  rm -rf -- "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

skip() {
  printf 'wheel test: skipped, %s\n' "$1"
  exit 77
}
fail() {
  [ ! -f "$work/up.log" ] || tail -n 20 "$work/up.log" >&2
  printf 'wheel test: failed, %s\n' "$1"
  exit 1
}

status=0
scripts/dist.sh 2>"$work/dist.log" || status=$?
cat "$work/dist.log" >&2
[ "$status" -ne 77 ] || skip "$(tail -n 1 "$work/dist.log")"
[ "$status" -eq 0 ] || fail 'just dist failed'

python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input dist/faultline-*.whl >"$work/pip.log" 2>&1 ||
  skip "the wheel's dependency cannot be installed: $(tail -n 1 "$work/pip.log")"

# Two ports that are free now.
ports=$(python3 -c 'import socket
taken = [socket.socket() for _ in range(2)]
for one in taken: one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in taken))')
nats_port=${ports% *} page_port=${ports#* }

mkdir "$work/home"
cd "$work/home"
# An activated venv is its folder at the front of PATH; without that, `faultline` must find its programs and the server by itself.
faultline() { env -i HOME="$work/home" PATH=/usr/bin:/bin "$work/venv/bin/faultline" "$@"; }
env -i HOME="$work/home" PATH=/usr/bin:/bin "$work/venv/bin/faultline" up --workers 2 --faults off --no-generator \
  --nats-port "$nats_port" --dashboard-port "$page_port" >"$work/up.log" 2>&1 &
up=$!
server=nats://127.0.0.1:$nats_port

tries=0
until faultline --nats-url "$server" nodes 2>/dev/null | grep -c alive | grep -qx 2; do
  kill -0 "$up" 2>/dev/null || fail '`faultline up` ended'
  tries=$((tries + 1))
  [ "$tries" -lt 120 ] || fail 'two nodes are not alive after a minute'
  sleep 0.5
done
faultline --nats-url "$server" submit --kind sleep --duration 100ms --wait >"$work/submit.log" 2>&1 || fail "a job is not committed: $(cat "$work/submit.log")"
faultline --nats-url "$server" audit >"$work/audit.log" 2>&1 || fail "the audit fails: $(cat "$work/audit.log")"
python3 - "$page_port" <<'PYTHON' || fail 'the page is not served'
import sys, time, urllib.request
for attempt in range(60):
    try:
        page = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/", timeout=5).read().decode()
        break
    except OSError:
        time.sleep(0.5)
sys.exit("<script" not in page)
PYTHON
kill -TERM "$up"
status=0
wait "$up" || status=$?
up=
[ "$status" -eq 0 ] || fail "\`faultline up\` ended with $status when it was told to stop"
echo 'wheel test: passed'
