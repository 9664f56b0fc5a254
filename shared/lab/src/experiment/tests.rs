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
        ("judge = ", "horizon = \"0 s\"\njudge = ", "line 49: run.horizon: a run of no length has no figures"),
        ("\"goodput.fgd >= 0.5\"", "\"goodput.fgd >= 50\"", "line 53: expect.that.0: the bound `50` can never hold"),
        ("[policy.fgd]", "[policy.\"f g d\"]", "line 37: policy.f g d: the name is not plain"),
        ("[workload]", "[workload", "line 13: "),
    ];
    for (from, to, expected) in cases {
        let told = complaints(from, to);
        assert!(told.lines().any(|line| line.starts_with(expected)), "{to}:\n{told}");
    }
    let missing = parse("title = \"x\"\n[cluster]\nprocessors = 4\n").unwrap_err();
    let told: Vec<String> = missing.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["missing field `workload`; add it", "policy: no policy: add at least one, such as `[policy.first-fit]`"]);
}

/// A person corrects all at once, not one after the other: kinds, fields that must be there, lists, what makes no sense, and expectations.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let changes = [
        ("title = \"Which policy for my trace\"", "title = 5"),
        ("count = 64", "count = \"many\""),
        ("\"H100\"", "7"),
        ("\"20 s\"", "\"soon\""),
        ("restore = \"5 min\"", "restoring = \"5 min\""),
        ("estimate_error = 0.5", "estimate_error = 50.0"),
        ("\"sjf\"", "\"luck\""),
        ("spares = 4", "spares = \"four\""),
        ("\"goodput.fgd >= 0.5\"", "5"),
        ("diff(fgd, small-first).goodput > 0", "diff(fgd, large-first).goodput > 0"),
    ];
    let text = changes.iter().fold(WHOLE.to_owned(), |text, (from, to)| text.replacen(from, to, 1));
    let told: Vec<String> = parse(&text).unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        "line 2: title: ",
        "line 9: cluster.nodes.0.count: ",
        "line 11: cluster.nodes.0.model: ",
        "line 22: jobs.write: ",
        "line 23: jobs.restoring: ",
        "line 25: jobs.estimate_error: 50 is out of range",
        "line 33: policy.small-first.order: ",
        "line 44: policy.fgd-eager.spares: ",
        "line 53: expect.that.0: ",
        "line 54: expect.that.1: unknown policy `large-first`",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)), "{told:#?}");
    let syntax = parse("title = x\n[cluster\n[workload]\njob = { gpus = }\n").unwrap_err();
    let lines: Vec<Option<usize>> = syntax.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [Some(1), Some(2), Some(4)], "{syntax:?}");
}

/// What the files themselves make wrong: all of it, and a run in which nothing would count.
#[test]
fn what_is_wrong_with_files_is_told_at_once() {
    let told = |text: &str, read: &dyn Fn(&str) -> Result<Vec<u8>, String>| -> Vec<String> {
        let file = parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
        Experiment::load(&file, text, read).unwrap_err().iter().map(ToString::to_string).collect()
    };
    let files = "title = \"x\"\n[cluster]\nfile = \"nodes.csv\"\n[workload]\nfile = \"jobs.csv\"\n[policy.first-fit]\n";
    assert_eq!(
        told(files, &|_| Err("it is not there; make it".to_owned())),
        [
            "line 3: cluster.file: nodes.csv cannot be read: it is not there; make it",
            "line 5: workload.file: jobs.csv cannot be read: it is not there; make it"
        ]
    );
    let late = "title = \"x\"\n[cluster]\nprocessors = 4\n[workload]\nfile = \"jobs.csv\"\n[policy.first-fit]\n[run]\nwarm_up = \"2 h\"\n";
    let jobs = |_: &str| Ok(b"submit_s,duration_s,gpu_milli\n0,60,1000\n3600,60,1000\n".to_vec());
    let why = "no job is submitted between the warm-up and the end of the run, so nothing would count: write a shorter warm-up or a longer horizon";
    assert_eq!(told(late, &jobs), [format!("line 8: run.warm_up: {why}")]);
    let faults = late.replace("warm_up = \"2 h\"\n", "") + "[policy.one]\nspares = 9\n[policy.two]\nfaults = { trace = \"faults.csv\" }\n";
    let read = |path: &str| if path == "jobs.csv" { jobs(path) } else { Err("it is not there; make it".to_owned()) };
    assert_eq!(told(&faults, &read).len(), 2, "{:?}", told(&faults, &read));
}

/// Another program is another experiment, even under the same name.
#[test]
fn the_files_of_a_program_are_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("mine.py");
    let text = format!(
        "title = \"x\"\n[cluster]\nprocessors = 4\n[workload.job]\ngpus = 1\nwork = \"1 h\"\n[policy.mine]\nplacement = \"exec:python3 {} --fast\"\n",
        script.display()
    );
    let inputs = |written: &str| {
        std::fs::write(&script, written).unwrap();
        Experiment::load(&parse(&text).unwrap(), &text, &|path| Err(format!("no {path}"))).unwrap().inputs
    };
    let (first, second) = (inputs("print(1)\n"), inputs("print(2)\n"));
    assert_eq!((first.len(), first[0].path.as_str(), first[0].bytes), (1, script.to_string_lossy().as_ref(), 9));
    assert_eq!(first[0].sha256, crate::tables::sha256(b"print(1)\n"));
    assert_ne!(first, second);
}

#[test]
fn an_experiment_knows_whether_its_seeds_can_differ() {
    let file = |rest: &str| {
        let text = format!("title = \"x\"\n[cluster]\nprocessors = 4\n[workload]\nfile = \"jobs.csv\"\n{rest}");
        parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"))
    };
    for alike in ["[policy.fgd]\n", "[policy.best-fit]\norder = \"sjf\"\n[faults]\npreset = \"off\"\n"] {
        assert!(!file(alike).draws() && !file(alike).filled().draws(), "{alike}");
    }
    let drawn = [
        "[policy.random]\n",
        "[policy.fgd]\ntie = \"random\"\n",
        "[policy.fgd]\nplacement = \"exec:a\"\n",
        "[policy.fgd]\njobs = { estimate_error = 0.5 }\n",
        "[policy.fgd]\nfaults = { per_node_day = 0.1 }\n",
        "[policy.fgd]\n[faults]\npreset = \"rsc-1\"\n",
        "resample = \"days\"\n[policy.fgd]\n",
    ];
    for drawn in drawn {
        assert!(file(drawn).draws() && file(drawn).filled().draws(), "{drawn}");
    }
}
