use super::*;

const GOOD: &str = r#"
[scenario]
name = "test"
shows = "that a file can be read"
look_for = "errors"

[workload]
jobs = 10
rate_per_s = 5.0
duration = ["100ms", "200ms"]

[[fault]]
at = "2s"
kind = "freeze"
for = "3s"

[[assert]]
that = "lost=0"
"#;

fn complaint(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn a_good_file_has_defaults() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!((scenario.cluster.workers, scenario.cluster.schedulers, scenario.cluster.faults), (4, 1, FaultPreset::Off));
    assert_eq!((scenario.workload.duration_ms, scenario.workload.gpu_milli), ((100, 200), 100));
    assert_eq!((scenario.faults[0].at_ms, scenario.faults[0].request.for_ms, scenario.faults[0].times), (2_000, 3_000, 1));
    assert_eq!(scenario.limit, Duration::from_secs(60));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
    let text = complaint("jobs = 10", "jobs = 10\njbs = 3");
    assert!(text.starts_with("line 9: ") && text.contains("`jbs`") && text.contains("rate_per_s"), "{text}");
    assert!(complaint("[workload]", "[workloads]").contains("workloads"));
    assert!(complaint("jobs = 10", "jobs = \"ten\"").starts_with("line 8: "));
    assert!(complaint("jobs = 10", "").contains("jobs"));
}

#[test]
fn nonsense_names_line_field_and_remedy() {
    for (from, to, wanted) in [
        ("jobs = 10", "jobs = 0", "line 8: workload.jobs: 0 is outside 1 to"),
        ("rate_per_s = 5.0", "rate_per_s = -1.0", "line 9: workload.rate_per_s: above 0"),
        ("rate_per_s = 5.0", "rate_per_s = 0.01", "line 9: workload.rate_per_s: 10 jobs at 0.01 a second take longer"),
        ("rate_per_s = 5.0", "kinds = { slep = 1.0 }", "line 9: workload.kinds: unknown kind of job `slep`"),
        ("rate_per_s = 5.0", "kinds = { sleep = 0.0 }", "line 9: workload.kinds: weights"),
        ("rate_per_s = 5.0", "gpus = 1.5", "line 9: workload.gpus: above one GPU only whole numbers"),
        ("\"100ms\", \"200ms\"", "\"2s\", \"1s\"", "line 10: workload.duration: the shorter one"),
        ("at = \"2s\"", "at = \"2\"", "line 13: fault 1.at: `2`: the unit is missing"),
        ("at = \"2s\"", "at = \"59s\"", "line 13: fault 1.at: it ends after 1 min 2 s, and the scenario's limit is 1 min"),
        ("kind = \"freeze\"", "kind = \"melt\"", "line 14: fault 1.kind: unknown value `melt`: use one of kill-busy-worker"),
        ("for = \"3s\"", "for = \"3s\"\npercent = 5.0", "line 14: fault 1.kind: freeze takes no percent"),
        ("for = \"3s\"", "for = \"3s\"\ntimes = 3", "line 16: fault 1.times: say how far apart"),
        ("for = \"3s\"", "for = \"3s\"\ntimes = 3\nevery = \"2s\"", "line 17: fault 1.every: must be longer"),
        ("that = \"lost=0\"", "that = \"lots=0\"", "line 18: assert 1.that: `lots=0`: unknown metric `lots`"),
        ("that = \"lost=0\"", "that = \" \"", "line 18: assert 1.that: it asserts nothing"),
        ("name = \"test\"", "name = \"a b\"", "line 3: scenario.name"),
        ("look_for = \"errors\"", "look_for = \"\"", "line 5: scenario.look_for: describe the scenario"),
    ] {
        let text = complaint(from, to);
        assert!(text.starts_with(wanted), "{to}: {text}");
    }
    assert!(complaint("[[assert]]\nthat = \"lost=0\"", "").contains("assert: no [[assert]]"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z_=\\n\"0-9. ]{0,200}") {
        let _ = parse(&text);
    }
}
