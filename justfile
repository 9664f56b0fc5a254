# What a person types. Recipes longer than a line or two are scripts in scripts/, so that they run and are checked without `just`.
# Works with just 1.27 and newer; ./justw brings one where there is none.

set positional-arguments := true

# The recipes that there are.
default:
    @"{{ just_executable() }}" --justfile "{{ justfile() }}" --list --unsorted

# Builds, makes sure of a nats-server and runs the whole cluster; Ctrl-C stops it. Arguments go to `faultline up`.
[no-exit-message]
up *ARGS:
    @exec scripts/run.sh up "$@"

# A throwaway cluster of 64 nodes that is broken while you watch: a rack, the leader, NATS. Arguments go to `faultline demo`.
[no-exit-message]
demo *ARGS:
    @exec scripts/run.sh demo "$@"

# The same in containers: [workers] (8), --cluster for three NATS servers, --observability for Prometheus and Grafana, --gpus.
[no-exit-message]
compose-up *ARGS:
    @exec scripts/compose.sh up "$@"

# Another number of workers in containers; those that go finish their jobs first.
[no-exit-message]
compose-scale WORKERS:
    @exec scripts/compose.sh scale "$@"

# Stops the cluster in containers and removes it with its data, or with --keep-data without.
[no-exit-message]
compose-down *ARGS:
    @exec scripts/compose.sh down "$@"

# The token that the dashboard of the cluster in containers asks for.
[no-exit-message]
compose-token:
    @exec scripts/compose.sh token

# A command of `faultline` inside of the cluster in containers, such as `compose-cli nodes`.
[no-exit-message]
compose-cli *ARGS:
    @exec scripts/compose.sh cli "$@"

# Release binaries, `faultline` among them, into cargo's target folder.
build:
    @scripts/web.sh
    cargo build --release --locked --workspace --exclude faultline-tests --exclude faultline-test-container --exclude faultline-simulation --bins

# What can be installed without a compiler, into dist/: a tar of the release programs, and a Python wheel that also brings a nats-server.
[no-exit-message]
dist:
    @exec scripts/dist.sh

# The wheel of `just dist`, installed in a new venv, runs a cluster there.
[no-exit-message]
test-dist:
    @exec scripts/test-dist.sh

# All tests against a real NATS (containers where an engine answers, else a local server). Arguments go to the test runner.
[no-exit-message]
test *ARGS:
    @exec scripts/test.sh "$@"

# The composed cluster on a real container engine: scaled under load, worker, scheduler and NATS killed, every job counted.
[no-exit-message]
test-containers:
    @exec scripts/test-containers.sh

# Tests of the page in a real Chromium, each against a cluster of its own. Arguments are parts of the tests' names.
[no-exit-message]
test-browser *ARGS:
    @exec scripts/test-browser.sh "$@"

# Every page in both themes, from a live cluster in which things break, and the demo as a moving picture, into docs/screenshots; only the latter with `moving`.
[no-exit-message]
screenshots *WHAT:
    @exec scripts/screenshots.sh "$@"

# What the page costs a browser and its service over time: --minutes 60, --workers 8, --nodes-per-worker 125. Prints a line a minute.
[no-exit-message]
measure-page *ARGS:
    @exec scripts/measure-page.sh "$@"

# Formatting, spelling, unused and forbidden dependencies, clippy, documentation.
[no-exit-message]
check:
    @exec scripts/check.sh

# Jobs a second, latency, and CPU of all services, beside a bare pipeline with the fewest durable writes. Arguments go to the bench.
[no-exit-message]
bench *ARGS:
    @exec scripts/bench.sh bench "$@"

# The same with apalis, another job queue on NATS, measured beside them, and how fast each recovers from a killed worker.
[no-exit-message]
bench-peers *ARGS:
    @exec scripts/bench-peers.sh "$@"

# Time from the death of a worker, scheduler or NATS server until its work goes on. Arguments go to the bench: --rounds, --only, --check.
[no-exit-message]
bench-recovery *ARGS:
    @exec scripts/bench.sh bench_recovery "$@"

# How fast the planner decides, by policy, nodes, and waiting classes; JSON lines and a table. Arguments go to the bench: --nodes, --policies.
bench-planner *ARGS:
    @cargo run --release --locked --quiet --package faultline-tests --bin bench_planner -- "$@"

# The failure detectors against ground truth, in virtual time; --markdown prints the tables of docs/detectors.md.
bench-detectors *ARGS:
    @cargo run --release --locked --quiet --package faultline-tests --bin bench_detectors -- "$@"

# Kills, freezes and breaks everything under load, then counts the jobs: --minutes 5, --seed N. Arguments go to the chaos suite.
[no-exit-message]
chaos *ARGS:
    @exec scripts/chaos.sh "$@"

# Runs every scenario that comes with the program N times, once when left out, and prints a table.
[no-exit-message]
scenarios *N:
    @exec scripts/scenarios.sh "$@"

# What the dashboard costs with 10,000 nodes and a page that watches; fails when a limit is broken. Arguments go to the bench.
[no-exit-message]
bench-dashboard *ARGS:
    @exec scripts/bench.sh bench_dashboard "$@"

# One scenario on a live cluster and in the lab, differences judged: some seven minutes. Arguments go to `faultline lab cross-check`.
[no-exit-message]
cross-check *ARGS:
    @exec scripts/run.sh lab cross-check "$@"

# How fast the lab is: months of jobs, a year of faults, a million jobs; on openb too when `just traces` has fetched it.
[no-exit-message]
bench-lab *TRACES: build
    @exec python3 scripts/bench-lab.py "$(scripts/target-dir.sh)/release/faultline" "$@"

# Malformed messages on every subject while jobs run: --messages 1000000, --seed N. Fails when a process ends, grows too much or loses a job.
[no-exit-message]
attack *ARGS:
    @exec scripts/bench.sh attack "$@"

# The protocol under virtual time with seeded faults: --seeds N, --seed S, --verbose, --bug NAME.
[no-exit-message]
simulate *ARGS:
    @cargo run --quiet --release --locked --package faultline-simulation --bin simulate -- "$@"

# Creates streams, buckets and consumers on the NATS of FAULTLINE_NATS_URL. Arguments go to `faultline setup`.
[no-exit-message]
setup *ARGS: build
    @exec "$(scripts/target-dir.sh)/release/faultline" setup "$@"

# Makes sure of a nats-server: FAULTLINE_NATS_URL, else PATH, else a pinned one in .tools/ (always that one with `pinned`).
nats-server *ARGS:
    @scripts/nats-server.sh "$@"

# Formats all sources.
fmt:
    cargo fmt --all

# Removes what a cluster on this machine has stored: the server's files, keys, logs. Not while it runs.
clean-data:
    rm -rf -- .data logs

# Recomputes the figures of the calibrated fault profile from a trace: FILE [NODES DAYS].
[no-exit-message]
fault-statistics *ARGS:
    @cargo run --release --quiet --locked -p faultline-engine --example fault-statistics -- "$@"

# Fetches the public cluster traces that replays read, and checks them. Into shared/traces, or the folder given.
traces *ARGS:
    @scripts/traces.sh "$@"
