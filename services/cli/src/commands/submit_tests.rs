//! Flags to jobs, and what a submission prints.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    flags: SubmitFlags,
}

fn parse(text: &str) -> Result<SubmitFlags, String> {
    let words = std::iter::once("submit").chain(text.split_whitespace());
    Line::try_parse_from(words).map(|line| line.flags).map_err(|error| error.to_string())
}

fn checked(text: &str) -> Result<JobSpec, String> {
    let flags = parse(text)?;
    flags.check().map_err(|failure| failure.to_string())?;
    flags.spec(1, JobId::new(5, 6), 7).map_err(|failure| failure.to_string())
}

#[test]
fn flags_become_a_job() {
    let spec =
        checked("--kind matrix --size 512 --priority urgent --gpus 0.5 --gpu-memory 2048 --model H100-80GB --timeout 90s --max-retries 1")
            .unwrap();
    assert_eq!(spec.params, Params::from([("size".to_owned(), Param::Int(512))]));
    assert_eq!(spec.demand, Demand { gpu_milli: 500, gpu_memory_mib: 2048, models: vec!["H100-80GB".into()] });
    assert_eq!((spec.priority, spec.timeout_ms, spec.max_retries), (Priority::Urgent, 90_000, 1));
    assert_eq!(spec.name, "matrix-urgent-0001");
    assert_eq!(spec.submitted_at_ms, 7);
}

#[test]
fn size_and_duration_mean_what_the_kind_reads() {
    let params = |text| {
        checked(text).unwrap().params.into_iter().map(|(key, value)| format!("{key}={}", value.as_u64().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(params("--kind sleep"), ["duration_ms=1000"]);
    assert_eq!(params("--kind sleep --duration 2s"), ["duration_ms=2000"]);
    assert_eq!(params("--kind sleep --param duration_ms=5"), ["duration_ms=5"]);
    assert_eq!(params("--kind compute --size 1000 --duration 1s"), ["hold_ms=1000", "limit=1000"]);
    assert_eq!(params("--kind own:thing --size 3"), ["size=3"]);
}

#[test]
fn a_long_job_gets_a_long_limit() {
    assert_eq!(checked("--kind sleep --duration 20s").unwrap().timeout_ms, 60_000);
    assert_eq!(checked("--kind sleep --duration 2s").unwrap().timeout_ms, 30_000);
}

#[test]
fn names_are_numbered_when_there_are_many() {
    assert_eq!(checked("--kind sleep --name nightly").unwrap().name, "nightly");
    assert_eq!(checked("--kind sleep --name nightly --count 3").unwrap().name, "nightly-1");
}

#[test]
fn nonsense_is_refused_with_the_flag_and_a_way_out() {
    let refused = [
        ("--kind sleep --gpus -1", "--gpus"),
        ("--kind sleep --gpus NaN", "--gpus"),
        ("--kind sleep --gpus 1.5", "whole"),
        ("--kind sleep --count 0", "--count"),
        ("--kind sleep --timeout 0s", "--timeout"),
        ("--kind sleep --timeout -5s", "negative"),
        ("--kind sleep --duration 10", "10s or 10ms"),
        ("--kind sleep --max-retries 101", "--max-retries"),
        ("--kind sleep --priority asap", "urgent, high, normal or low"),
        ("--kind sleep --size 5", "--duration"),
        ("--kind matrix --size -5", "--size"),
        ("--kind matrix --size 5 --param size=6", "leave one out"),
        ("--kind matrix --param a=1 --param a=2", "given twice"),
        ("--kind a.b", "--kind"),
        ("--kind sleep --model *", "--model"),
        ("--count 3", "--kind"),
    ];
    for (line, words) in refused {
        let error = checked(line).unwrap_err();
        assert!(error.contains(words), "{line}: {error}");
    }
}

#[test]
fn the_summary_shows_a_few_ids() {
    let jobs = (0..7).map(|n| SubmittedJob { id: JobId::new(0, n), open_seq: Some(1), state: None }).collect();
    let ends = Some(Ends { committed: 6, dead: 1, ..Ends::default() });
    let report = Report { submitted: 7, failed: 0, submit_ms: 2, ends, total_ms: Some(1_500), jobs };
    assert_eq!(
        words(&report),
        "submitted 7 jobs in 2 ms (3,500 a second)\n\
         \x20 00000000000000000000000000\n\
         \x20 00000000000000000000000001\n\
         \x20 00000000000000000000000002\n\
         \x20 00000000000000000000000003\n\
         \x20 00000000000000000000000004\n\
         \x20 ... and 2 more (-o json lists all)\n\
         ended after 1.5 s: 6 committed, 1 dead\n"
    );
    let line = serde_json::to_string(&SubmittedJob { id: JobId::new(0, 1), open_seq: None, state: Some(JobState::Dead) }).unwrap();
    assert_eq!(line, "{\"id\":\"00000000000000000000000001\",\"state\":\"dead\"}");
}
