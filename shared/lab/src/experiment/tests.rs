use super::*;

const WHOLE: &str = r#"
title = "Which policy for my trace"
question = "Three placements on 64 nodes, with faults and checkpoints."

[cluster]
rack_nodes = 8
spares = 2
[[cluster.nodes]]
count = 64
gpus = 8
model = "H100"

[workload]
file = "trace.csv"
format = "philly-csv"
until = "14 d"
scale = { time = 0.5 }
resample = "days"

[jobs]
checkpoint = "30 min"
write = "20 s"
restore = "5 min"
estimate = "exact"
estimate_error = 0.5

[faults]
preset = "rsc-1"
detector = "phi-accrual"

[policy.small-first]
placement = "best-fit"
order = "sjf"
blocking = "easy"
tie = "random"

[policy.fgd]
placement = "fgd"
scores = "cut"

[policy.fgd-eager]
placement = "fgd"
jobs = { checkpoint = "optimal" }
spares = 4

[run]
seeds = "1..10"
warm_up = "1 d"
judge = "jct_mean_s"

[expect]
that = [
    "goodput.fgd >= 0.5",
    "diff(fgd, small-first).goodput > 0",
]
"#;

#[test]
fn a_whole_file_is_read_with_its_policies_in_order() {
    let file = parse(WHOLE).unwrap();
    assert_eq!(file.order, ["small-first", "fgd", "fgd-eager"]);
    assert_eq!(file.run.seeds, Some(Seeds { first: 1, last: 10 }));
    assert_eq!(file.policy["small-first"].order.map(|word| word.value), Some(faultline_planner::OrderName::Sjf));
    assert_eq!(file.jobs.write, Some(Span::seconds(20)));
}

#[test]
fn what_is_written_is_read_again() {
    let file = parse(WHOLE).unwrap();
    let written = toml::to_string(&file).unwrap();
    let read = parse(&written).unwrap();
    assert_eq!(File { order: file.order.clone(), ..read }, file, "{written}");
}

/// The complaints about a changed file, one a line.
fn complaints(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    let problems = parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_wrong_is_told_with_line_field_and_remedy() {
    let cases = [
        (
            "tie = \"random\"",
            "tie = \"heads\"",
            "line 35: policy.small-first.tie: unknown tie rule `heads`: use first, random, by-name or least-recently-used",
        ),
        ("write = \"20 s\"", "write = 20", "line 22: jobs.write: invalid type: integer `20`, expected a string"),
        ("write = \"20 s\"", "rite = \"20 s\"", "line 22: jobs.rite: unknown field `rite`, expected one of `checkpoint`, `write`, "),
        ("until = \"14 d\"", "until = \"14\"", "line 16: workload.until: invalid duration `14`: write a number and a unit"),
        ("count = 64", "count = 64000000", "line 5: cluster: 64000000 nodes are too many: at most 1000000"),
        ("spares = 2", "spares = 64", "line 7: cluster.spares: all 64 nodes would be spares: keep some to run jobs on"),
        ("spares = 2", "processors = 256", "line 8: cluster.nodes: only one of `file`, `processors`, `nodes` makes sense"),
        ("gpus = 8", "gpus = 99", "line 10: cluster.nodes.0.gpus: 99 GPUs are too many for a node: at most 16"),
        ("time = 0.5", "time = 0.0", "line 17: workload.scale.time: 0 is out of range: write 0.000001 to 1000000"),
        (
            "\"goodput.fgd >= 0.5\"",
            "\"goodput.worst >= 0.5\"",
            "line 53: expect.that.0: unknown policy `worst`: the file has small-first, fgd, fgd-eager",
        ),
        ("judge = \"jct_mean_s\"", "judge = \"joy\"", "line 49: run.judge: unknown metric `joy`: use one of goodput, "),
        ("preset = \"rsc-1\"", "preset = \"rsc-1\"\nper_node_day = 0.1", "line 29: faults.per_node_day: `preset` has a rate of its own"),
        ("estimate_error = 0.5", "estimate_error = 0.5\nelastic = 1.5", "line 26: jobs.elastic: 1.5 is out of range: write 0 to 1"),
        (
            "detector = \"phi-accrual\"",
            "detector = \"phi-accrual\"\none_gpu = 0.7\nslow = 0.4",
            "line 31: faults.slow: with `one_gpu` more than all faults",
        ),
        ("[policy.fgd]", "[policy.\"f g d\"]", "line 37: policy.f g d: the name is not plain"),
        ("[workload]", "[workload", "line 13: "),
    ];
    for (from, to, expected) in cases {
        let told = complaints(from, to);
        assert!(told.lines().any(|line| line.starts_with(expected)), "{to}:\n{told}");
    }
    let missing = parse("title = \"x\"\n[cluster]\nprocessors = 4\n").unwrap_err();
    assert_eq!(missing[0].to_string(), "missing field `workload`; add it");
}

/// A person corrects all at once, not one after the other.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = WHOLE.replace("\"H100\"", "7").replace("\"20 s\"", "\"soon\"").replace("\"sjf\"", "\"luck\"");
    let lines: Vec<Option<usize>> = parse(&text).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines.len(), 3, "{:?}", parse(&text));
    assert!(lines.is_sorted() && lines[0] == Some(11) && lines[1] == Some(22) && lines[2] == Some(33), "{lines:?}");
}
