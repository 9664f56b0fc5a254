//! Flags to jobs, and what a submission prints.

use clap::Parser;
use faultline_engine::job::JobSpec;

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
    let options = flags.options().map_err(|failure| failure.to_string())?;
    options.spec(1, flags.count, JobId::new(5, 6), 7).map_err(|error| explain(&error))
}

#[test]
fn flags_become_a_job() {
    let spec =
        checked("--kind matrix --size 512 --priority urgent --gpus 0.5 --gpu-memory 2048 --model H100-80GB --timeout 90s --max-retries 1")
            .unwrap();
    assert_eq!(spec.params, Params::from([("size".to_owned(), Param::Int(512))]));
    assert_eq!(spec.demand, Demand { gpu_milli: 500, gpu_memory_mib: 2048, models: vec!["H100-80GB".into()] });
    assert_eq!((spec.priority, spec.timeout_ms, spec.max_retries), (Priority::Urgent, 90_000, 1));
    assert_eq!(spec.name, "matrix-urgent");
    assert_eq!(spec.submitted_at_ms, 7);
}

#[test]
fn names_are_numbered_when_there_are_many() {
    assert_eq!(checked("--kind sleep --name nightly").unwrap().name, "nightly");
    assert_eq!(checked("--kind sleep --name nightly --count 3").unwrap().name, "nightly-0001");
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
        ("--kind sleep --size 5", "give a duration"),
        ("--kind matrix --size -5", "--size"),
        ("--kind matrix --size 5 --param size=6", "leave one out"),
        ("--kind matrix --param a=1 --param a=2", "given twice"),
        ("--kind matrix --param sizes=5", "--param: unknown parameter `sizes` of a matrix job: use size, seed, hold_ms"),
        ("--kind fault --param fail_odds=2", "--param: `fail_odds` must be a number from 0 to 1"),
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
         ended after 1.5 s: 6 committed, 1 given up\n"
    );
    let line = serde_json::to_string(&SubmittedJob { id: JobId::new(0, 1), open_seq: None, state: Some(JobState::Dead) }).unwrap();
    assert_eq!(line, "{\"id\":\"00000000000000000000000001\",\"state\":\"dead\"}");
}
