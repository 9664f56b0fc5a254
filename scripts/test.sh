#!/bin/sh
# `just test`: builds, makes sure of a NATS for the tests, runs them all in release mode, then those of the page in a browser, that of
# the composed cluster and that of the wheel, and ends with the NATS used and the counts.
# Arguments go to the test runner. Containers are used when an engine answers and the pinned Linux binary is there to build our
# image from; FAULTLINE_TEST_NATS=docker|process forces one way.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd -- "$root"
target=$(scripts/target-dir.sh)
image=faultline/nats:2.15.1
engine=${DOCKER_HOST:-} # as it was given: see start_bridge

say() { printf '== %s\n' "$*" >&2; }

# With the same features of every dependency as in `just up` and in the tests that follow, so that each is compiled once.
scripts/web.sh
say 'building the release binaries'
cargo build --release --locked --bins

server=$(scripts/nats-server.sh pinned)

work=$(mktemp -d "${TMPDIR:-/tmp}/faultline-test.XXXXXX")
# The bridge below stops when its standard input, our descriptor 9, ends.
wheel_pid=
trap '[ -z "$wheel_pid" ] || kill "$wheel_pid" 2>/dev/null; exec 9>&-; rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# An engine older than the client inside testcontainers needs a translator for the API version.
start_bridge() {
  command -v python3 >/dev/null 2>&1 || return 0
  mkfifo "$work/hold" "$work/ready"
  # Neither the bridge nor the tests may hold our end of the pipe, hence `9>&-` with each.
  (python3 scripts/docker-api-bridge.py "$work/docker.sock" <"$work/hold" >"$work/ready" 9>&-) &
  exec 9>"$work/hold"
  if read -r version <"$work/ready"; then
    engine=${engine:-unix:///var/run/docker.sock}
    say "the engine speaks only $version; a bridge stands in front of it"
    DOCKER_HOST=unix://$work/docker.sock
    export DOCKER_HOST
  fi
}

prepare_container_image() {
  [ "${FAULTLINE_TEST_NATS:-}" != process ] && [ "$(uname -s)" = Linux ] || return 1
  command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 || return 1
  # The classic builder needs no plugin, and with every layer in its cache this takes no second.
  DOCKER_BUILDKIT=0 docker build --quiet --tag "$image" --file docker/nats/Dockerfile . >"$work/build.log" 2>&1 || {
    say 'the image for the tests could not be built:'
    cat "$work/build.log" >&2
    return 1
  }
  say 'building the program that holds a container for a test'
  cargo build --release --locked --package faultline-test-container || return 1
  start_bridge
}

if prepare_container_image; then
  say "testing against NATS in containers ($image)"
elif [ "${FAULTLINE_TEST_NATS:-}" = docker ]; then
  say 'FAULTLINE_TEST_NATS=docker, but no engine answers or the image cannot be built'
  exit 1
else
  say "testing against a local nats-server ($server)"
  FAULTLINE_TEST_NATS=process
  export FAULTLINE_TEST_NATS
fi

# Made before the tests that want it, and said at the end: a test that was skipped looks like one that passed.
nats_py='run'
scripts/python-venv.sh >/dev/null 2>"$work/python" || nats_py="skipped, $(tail -n 1 "$work/python")"
say "tests with nats-py: $nats_py"

FAULTLINE_TEST_NATS_REPORT=$target/faultline-test-nats.txt
export FAULTLINE_TEST_NATS_REPORT
mkdir -p "$target"
: >"$FAULTLINE_TEST_NATS_REPORT"

# Prints the numbers of one attribute of the root element of nextest's report, or 0.
count_of() { sed -n "s/.*<testsuites [^>]*$1=\"\([0-9]*\)\".*/\1/p" "$report" | head -n 1 | grep . || echo 0; }

# Tests that failed and passed when they were tried again (NEXTEST_RETRIES), with spaces between.
flaky_tests() {
  awk -F '"' '/<testcase /{ name = $2 } /<flakyFailure/{ print name }' "$report" | sort -u | tr '\n' ' '
}

status=0
if cargo nextest --version >/dev/null 2>&1; then
  # Most tests wait for NATS and for clocks more than they compute.
  NEXTEST_TEST_THREADS=${NEXTEST_TEST_THREADS:-$(($(getconf _NPROCESSORS_ONLN) * 3))}
  export NEXTEST_TEST_THREADS
  report=$root/target/nextest/default/junit.xml # not below CARGO_TARGET_DIR: nextest's own folder is fixed
  rm -f "$report"
  cargo nextest run --release --locked "$@" 9>&- || status=$?
  if [ -f "$report" ]; then
    failed=$(($(count_of failures) + $(count_of errors)))
    passed=$(($(count_of tests) - failed))
    flaky=$(flaky_tests)
  fi
else
  { cargo test --release --locked --no-fail-fast "$@" 2>&1 9>&- || echo $? >"$work/status"; } | tee "$work/output"
  [ ! -f "$work/status" ] || status=$(cat "$work/status")
  counts=$(sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$work/output")
  passed=$(printf '%s\n' "$counts" | awk '{ sum += $1 } END { print sum + 0 }')
  failed=$(printf '%s\n' "$counts" | awk '{ sum += $2 } END { print sum + 0 }')
fi

# Arguments choose among the tests of the crates; with any, those in the browser are not wanted.
browser='not run, since arguments were given (`just test-browser` runs them alone)'
if [ $# -eq 0 ]; then
  browser_status=0
  { scripts/test-browser.sh 9>&- || echo $? >"$work/browser-status"; } | tee "$work/browser"
  [ ! -f "$work/browser-status" ] || browser_status=$(cat "$work/browser-status")
  browser=$(sed -n 's/^browser tests: //p' "$work/browser" | tail -n 1)
  browser=${browser:-failed before any ran}
  # 77: skipped, for the reason in that line.
  [ "$browser_status" -eq 0 ] || [ "$browser_status" -eq 77 ] || [ "$status" -ne 0 ] || status=$browser_status
fi

# The wheel, installed as on a machine without a compiler, beside the composed cluster: both wait more than they compute.
wheel='not run, since arguments were given (`just test-dist` runs it alone)'
if [ $# -eq 0 ]; then
  scripts/test-dist.sh >"$work/wheel" 2>&1 9>&- &
  wheel_pid=$!
fi

# The client of Compose speaks to the engine itself: the bridge passes only the few calls that the other tests make.
containers='not run, since arguments were given (`just test-containers` runs it alone)'
if [ $# -eq 0 ]; then
  { env ${engine:+DOCKER_HOST="$engine"} scripts/test-containers.sh 9>&- || echo $? >"$work/containers-status"; } | tee "$work/containers"
  [ ! -f "$work/containers-status" ] || containers_status=$(cat "$work/containers-status")
  containers=$(sed -n 's/^container tests: //p' "$work/containers" | tail -n 1)
  containers=${containers:-failed before it ran}
  [ "${containers_status:-0}" -eq 0 ] || [ "$containers_status" -eq 77 ] || [ "$status" -ne 0 ] || status=$containers_status
fi

if [ $# -eq 0 ]; then
  wheel_status=0
  wait "$wheel_pid" || wheel_status=$?
  wheel_pid=
  cat "$work/wheel"
  wheel=$(sed -n 's/^wheel test: //p' "$work/wheel" | tail -n 1)
  wheel=${wheel:-failed before it ran}
  [ "$wheel_status" -eq 0 ] || [ "$wheel_status" -eq 77 ] || [ "$status" -ne 0 ] || status=$wheel_status
fi

# Containers of test processes that were killed; one that another run still uses has a living owner.
if [ "${FAULTLINE_TEST_NATS:-}" != process ]; then
  docker ps --all --filter label=faultline.test.owner-pid --format '{{.ID}} {{.Label "faultline.test.owner-pid"}}' |
    while read -r container owner; do
      [ -d "/proc/$owner" ] || { docker rm --force --volumes "$container" >/dev/null && say "removed container $container of the ended process $owner"; }
    done
fi

echo
if [ -s "$FAULTLINE_TEST_NATS_REPORT" ]; then
  sort "$FAULTLINE_TEST_NATS_REPORT" | uniq -c | while read -r servers description; do
    echo "NATS used by the tests: $description ($servers servers started)"
  done
else
  echo 'NATS used by the tests: none'
fi
echo "tests with nats-py: $nats_py"
echo "browser tests: $browser"
echo "container tests: $containers"
echo "wheel test: $wheel"
[ -z "${flaky:-}" ] || echo "FLAKY, passed only when tried again: $flaky"
if [ -n "${passed:-}" ]; then
  echo "$passed passed, $failed failed"
else
  echo 'no test ran: the tests did not build'
fi
exit "$status"
