#!/usr/bin/env python3
"""How fast the lab is: bench-lab.py FAULTLINE [TRACES]. One JSON line for each case, and a table on standard error.

Each case is one process of the command, from its start to its end, with the tables and the report that it writes: seconds on the wall clock, seconds
of processor time, and the most memory that it had. Cases on openb need the folder that `just traces` fills, and are named as skipped without it.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

NODES = """
title = "bench"
[[cluster.nodes]]
count = {count}
gpus = 8
"""

GENERATED = """
[workload.generator]
jobs = {jobs}
load = 0.9
gpus = {{ 1 = 0.7, 2 = 0.1, 4 = 0.15, 8 = 0.05 }}
"""

POLICY = """
[policy.fifo]
placement = "best-fit"
blocking = "{blocking}"
[run]
seeds = "{seeds}"
"""

CHECKPOINTS = """
[jobs]
checkpoint = "30 min"
write = "30 s"
restore = "3 min"
"""

FAULTS = """
[faults]
preset = "rsc-1"
"""

# 68,000 jobs at a load of 0.9 last about two months on 225 nodes.
EXPERIMENTS = {
    "68,000 jobs, FIFO": (2, NODES.format(count=225) + GENERATED.format(jobs=68_000) + POLICY.format(blocking="strict", seeds=1)),
    "68,000 jobs, EASY, faults and checkpoints": (
        20,
        NODES.format(count=225) + GENERATED.format(jobs=68_000) + CHECKPOINTS + FAULTS + POLICY.format(blocking="easy", seeds=1),
    ),
    "400 nodes, a year of faults": (
        10,
        NODES.format(count=400)
        + '[workload.job]\ngpus = 1600\nwork = "365 d"\n'
        + CHECKPOINTS
        + FAULTS
        + POLICY.format(blocking="strict", seeds=1)
        + 'horizon = "365 d"\n',
    ),
    "16,384 GPUs, one gang, 54 days": (
        5,
        NODES.format(count=2112)
        + '[workload.job]\ngpus = 16384\nwork = "365 d"\n'
        + CHECKPOINTS
        + "[faults]\nper_node_day = 0.00379\n"
        + POLICY.format(blocking="strict", seeds=1)
        + 'horizon = "54 d"\n',
    ),
    "1,000,000 jobs, FIFO": (None, NODES.format(count=400) + GENERATED.format(jobs=1_000_000) + POLICY.format(blocking="strict", seeds=1)),
    "twenty runs of 20,000 jobs on all processors": (
        None,
        NODES.format(count=400) + GENERATED.format(jobs=20_000) + POLICY.format(blocking="strict", seeds="1..20"),
    ),
}
LISTS = ["default", "cpu050", "gpushare40", "gpuspec10", "multigpu20"]
PLACEMENTS = ["random", "dot-product", "gpu-clustering", "gpu-packing", "best-fit", "fgd"]


def measured(command, folder):
    """Seconds, seconds of processor time, and MiB of one process."""
    begin = time.monotonic()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"bench-lab: {' '.join(map(str, command))} ended with {process.returncode}: {said}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tell(rows, name, target, figures):
    wall, cpu, memory = figures
    row = {"case": name, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "memory_mib": round(memory), "target_s": target}
    print(json.dumps(row), flush=True)
    rows.append(row)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: bench-lab.py FAULTLINE [TRACES]")
    faultline = pathlib.Path(sys.argv[1]).resolve()
    traces = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else "shared/traces").resolve() / "openb"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        if (traces / "openb_node_list_gpu_node.csv").exists():
            nodes = traces / "openb_node_list_gpu_node.csv"

            def fill(tasks, policy, seeds):
                flags = ["--nodes", nodes, "--tasks", traces / f"openb_pod_list_{tasks}.csv", "--policy", policy, "--seeds", seeds]
                return measured([faultline, "lab", "fill", *flags], folder)

            tell(rows, "openb filled by FGD, one run", 0.3, fill("default", "fgd", "42"))
            there = [tasks for tasks in LISTS if (traces / f"openb_pod_list_{tasks}.csv").exists()]
            runs = [fill(tasks, policy, "42..51") for tasks in there for policy in PLACEMENTS]
            total = (sum(run[0] for run in runs), sum(run[1] for run in runs), max(run[2] for run in runs))
            tell(rows, f"openb filled, {len(runs) * 10} runs ({len(there)} lists of tasks, 6 policies, 10 seeds)", 30, total)
        else:
            print("bench-lab: SKIPPED openb: `just traces` fetches it", file=sys.stderr)
        for name, (target, text) in EXPERIMENTS.items():
            path = pathlib.Path(folder) / "bench.toml"
            path.write_text(text)
            out = pathlib.Path(folder) / f"out-{len(rows)}"
            tell(rows, name, target, measured([faultline, "lab", "run", path, "--out", out], folder))
    print(f"\n{'case':<72} {'wall s':>8} {'cpu s':>8} {'MiB':>7} {'target s':>9}", file=sys.stderr)
    for row in rows:
        target = "" if row["target_s"] is None else row["target_s"]
        print(f"{row['case']:<72} {row['wall_s']:>8} {row['cpu_s']:>8} {row['memory_mib']:>7} {target:>9}", file=sys.stderr)


main()
