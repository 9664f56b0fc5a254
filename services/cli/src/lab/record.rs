//! `faultline lab record`: the jobs of a live cluster as a trace in the lab's own table. RESULTS says how jobs ended, for as long as it keeps ends;
//! EVENTS says how many were placed whose ends are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use faultline_client::observe::each_event;
use faultline_engine::job::{JobId, Priority};
use faultline_lab::read::TraceRow;
use faultline_lab::tables::to_csv;
use faultline_protocol::messages::{EventKind, JobState, Record, TerminalRecord, is_returned};
use faultline_protocol::{streams, subjects};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::read::{From, Reader, Row};
use serde::Serialize;
use tokio::time::Instant;

use crate::commands::link::Link;
use crate::commands::parse;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{count, date_and_clock, plural};
use crate::whole_file;

/// How long one look for new ends takes.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RecordFlags {
    /// Only jobs that were submitted in this time before now; all whose ends are kept when left out
    #[arg(long, value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    since: Option<Duration>,
    /// Go on for so long, and write the jobs that end meanwhile too; Ctrl-C ends it sooner
    #[arg(long = "for", value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    follow: Option<Duration>,
    /// Write the table into this file instead of to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What RESULTS said so far.
#[derive(Debug, Default)]
struct Recorded {
    ended: BTreeMap<JobId, TerminalRecord>,
    open: BTreeSet<JobId>,
}

impl Recorded {
    fn on_row(&mut self, row: &Row) {
        if is_returned(Some(&row.headers)) {
            return;
        }
        match Record::decode(Some(&row.headers), &row.body) {
            Ok(Record::Open(_)) => self.open.extend(subjects::result_job_id(&row.subject)),
            Ok(Record::Ended(record)) => {
                self.open.remove(&record.job);
                self.ended.insert(record.job, *record);
            }
            Err(error) => tracing::debug!(subject = row.subject, %error, "unreadable record"),
        }
    }
}

/// How many jobs became rows, and why others did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct RecordView {
    jobs: usize,
    /// Unix milliseconds of the first submission, which is 0 in the table.
    begins_at_ms: Option<u64>,
    never_started: usize,
    still_open: usize,
    without_submission: usize,
    without_gpu: usize,
    /// Placed in the last hour, and their ends are gone.
    ends_gone: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

pub(crate) async fn run(link: &Link, flags: &RecordFlags) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let began_ms = unix_ms();
    let since_ms = flags.since.map_or(0, |since| began_ms.saturating_sub(since.as_millis() as u64));
    let mut recorded = Recorded::default();
    let mut reader = Reader::new(&link.nats, streams::RESULTS, From::Start);
    reader
        .read_to_end(|row| {
            recorded.on_row(&row);
            ControlFlow::Continue(())
        })
        .await?;
    let placed = placed_since(link, since_ms).await?;
    if let Some(follow) = flags.follow {
        let until = Instant::now() + follow;
        note!("recording for {} more; Ctrl-C ends it sooner", humantime(follow));
        while Instant::now() < until {
            tokio::select! {
                read = reader.follow(LOOK, |row| { recorded.on_row(&row); ControlFlow::Continue(()) }) => read?,
                () = interrupts.next() => break,
            }
        }
    }
    let (rows, mut view) = table_of(&recorded, since_ms);
    view.ends_gone = placed.iter().filter(|job| !recorded.ended.contains_key(job) && !recorded.open.contains(job)).count();
    let csv = to_csv(&rows);
    if let Some(path) = &flags.out {
        whole_file::write(path, &csv)?;
        view.file = Some(path.display().to_string());
        return link.out.one(&view, words);
    }
    link.out.text(&String::from_utf8_lossy(&csv))?;
    note!("{}", words(&view));
    Ok(())
}

fn humantime(length: Duration) -> String {
    faultline_engine::words::about(length.as_millis() as u64)
}

/// Jobs that were placed, as far back as EVENTS goes.
async fn placed_since(link: &Link, since_ms: u64) -> Result<BTreeSet<JobId>, Failure> {
    let mut placed = BTreeSet::new();
    let filters = vec![subjects::JOB_EVENT_ALL.to_owned()];
    let mut events = Reader::new(&link.nats, streams::EVENTS, From::Time(since_ms)).filters(filters);
    events
        .read_to_end(|row| {
            each_event(&row, |event| placed.extend(event.job.filter(|_| event.kind == EventKind::JobPlaced)));
            ControlFlow::Continue(())
        })
        .await?;
    Ok(placed)
}

/// The rows by submission, and what has none.
fn table_of(recorded: &Recorded, since_ms: u64) -> (Vec<TraceRow>, RecordView) {
    let mut view = RecordView {
        jobs: 0,
        begins_at_ms: None,
        never_started: 0,
        still_open: recorded.open.len(),
        without_submission: 0,
        without_gpu: 0,
        ends_gone: 0,
        file: None,
    };
    let mut records: Vec<&TerminalRecord> = recorded.ended.values().filter(|record| record.submitted_at_ms >= since_ms).collect();
    records.sort_by_key(|record| (record.submitted_at_ms, record.job));
    let mut rows: Vec<(u64, TraceRow)> = Vec::new();
    for record in records {
        match row(record) {
            Ok(row) if row.gpu_milli == 0 => view.without_gpu += 1,
            Ok(row) => rows.push((record.submitted_at_ms, row)),
            Err(Missing::Start) => view.never_started += 1,
            Err(Missing::Submission) => view.without_submission += 1,
        }
    }
    view.jobs = rows.len();
    view.begins_at_ms = rows.first().map(|(submitted_at_ms, _)| *submitted_at_ms);
    let begins_ms = view.begins_at_ms.unwrap_or(0);
    let rows = rows.into_iter().map(|(submitted_at_ms, row)| TraceRow { submit_s: seconds(submitted_at_ms - begins_ms), ..row });
    (rows.collect(), view)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Start,
    Submission,
}

/// All but when it was submitted. It worked as long as its last attempt, which is the one that committed if any did.
fn row(record: &TerminalRecord) -> Result<TraceRow, Missing> {
    let submission = record.submission.as_ref().ok_or(Missing::Submission)?;
    let committed = record.history.iter().find(|attempt| Some(attempt.attempt) == record.attempt);
    let attempt = committed.or(record.history.last()).ok_or(Missing::Start)?;
    let began_ms = attempt.started_at_ms.unwrap_or(attempt.placed_at_ms);
    let ended_ms = attempt.ended_at_ms.unwrap_or(record.ended_at_ms);
    Ok(TraceRow {
        name: record.job.to_string(),
        submit_s: 0.0,
        duration_s: seconds(ended_ms.saturating_sub(began_ms)),
        tasks: 1,
        gpu_milli: submission.demand.gpu_milli,
        models: submission.demand.models.join("|"),
        user: submission.origin.by.clone(),
        priority: level(record.priority),
        estimate_s: (submission.expected_ms > 0).then(|| seconds(submission.expected_ms)),
        status: match record.state {
            JobState::Committed => "passed",
            JobState::Dead => "failed",
            JobState::Cancelled => "killed",
            JobState::Queued | JobState::Running | JobState::Abandoned => "unknown",
        },
    })
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// The higher goes first.
fn level(priority: Priority) -> u8 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Urgent => 3,
    }
}

fn words(view: &RecordView) -> String {
    let place = view.file.as_ref().map_or_else(String::new, |file| format!(" in {file}"));
    let begins = view.begins_at_ms.map_or_else(String::new, |ms| format!("; second 0 is {}", date_and_clock(ms)));
    let mut lines = vec![format!("{}{place}{begins}", plural(view.jobs as u64, "job"))];
    let left_out = [
        (view.still_open, "wait or run: they have no end yet"),
        (view.never_started, "ended before they started: how long they would have run is unknown"),
        (view.without_submission, "have records that do not say what was submitted"),
        (view.without_gpu, "ask for no GPU, which is all that the table has of them"),
        (
            view.ends_gone,
            "were placed in the last hour, and RESULTS keeps ends for a shorter time (10 min unless set): use --for, or raise the time",
        ),
    ];
    lines.extend(left_out.iter().filter(|(jobs, _)| *jobs > 0).map(|(jobs, why)| format!("left out: {} {why}", count(*jobs as u64))));
    lines.push(
        "A job's work is how long its last attempt ran, on the node that it had. GPU memory and executors are not in the table.".to_owned(),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::{AttemptId, AttemptOutcome, AttemptSummary, Demand, Origin, Submission};
    use faultline_lab::read::{self, ReadSettings, Source};

    use super::*;

    fn attempt(number: u64, outcome: AttemptOutcome) -> AttemptSummary {
        AttemptSummary {
            attempt: AttemptId::new(number, 1),
            node: "gpu-node-01".into(),
            incarnation: 1,
            gpus: vec![0],
            gpu_milli: 500,
            placed_at_ms: 1_000 * number,
            started_at_ms: Some(1_000 * number + 100),
            ended_at_ms: Some(1_000 * number + 850),
            outcome,
            detail: String::new(),
            why: String::new(),
            choice: None,
        }
    }

    fn ended(number: u64, state: JobState, history: Vec<AttemptSummary>) -> TerminalRecord {
        let demand = Demand { gpu_milli: 500, gpu_memory_mib: 0, models: vec!["A100".into(), "H100".into()] };
        let origin = Origin::by("command, user ann@login-1");
        let submission = Submission {
            demand,
            expected_ms: 2_000,
            timeout_ms: 9_000,
            max_retries: 3,
            params: Default::default(),
            params_left_out_bytes: 0,
            origin,
        };
        TerminalRecord {
            job: JobId::new(number, 7),
            name: "train".into(),
            kind: "sleep".into(),
            priority: Priority::High,
            state,
            attempt: (state == JobState::Committed).then(|| history.last().unwrap().attempt),
            open_seq: 1,
            submitted_at_ms: 500 + 1_000 * number,
            ended_at_ms: 9_000,
            result: String::new(),
            reason: String::new(),
            failures: 0,
            requeues: 0,
            history,
            submission: Some(submission),
        }
    }

    /// What is written is a trace that the lab reads, with what was really run.
    #[test]
    fn ends_become_a_trace_that_is_read_again() {
        let mut recorded = Recorded::default();
        let twice = vec![attempt(2, AttemptOutcome::Lost), attempt(4, AttemptOutcome::Committed)];
        for record in [
            ended(2, JobState::Committed, twice),
            ended(1, JobState::Dead, vec![attempt(1, AttemptOutcome::Failed)]),
            ended(3, JobState::Cancelled, Vec::new()),
            TerminalRecord { submission: None, ..ended(4, JobState::Committed, vec![attempt(4, AttemptOutcome::Committed)]) },
            ended(0, JobState::Committed, vec![attempt(1, AttemptOutcome::Committed)]),
        ] {
            recorded.ended.insert(record.job, record);
        }
        recorded.open.insert(JobId::new(9, 7));
        let (rows, view) = table_of(&recorded, 1_000);
        assert_eq!((view.jobs, view.begins_at_ms, view.never_started, view.without_submission, view.still_open), (2, Some(1_500), 1, 1, 1));
        let csv = String::from_utf8(to_csv(&rows)).unwrap();
        let reading = read::jobs(&Source::new("FILE", csv), None, &ReadSettings::default()).unwrap();
        assert_eq!((reading.report.used, reading.report.dropped.len()), (2, 0), "{:?}", reading.report);
        let jobs: Vec<(u64, u64, u8)> = reading.workload.jobs.iter().map(|job| (job.submit_ms, job.work_ms, job.priority)).collect();
        assert_eq!(jobs, [(0, 750, 2), (1_000, 750, 2)]);
        assert_eq!(reading.workload.jobs[1].estimate_ms, Some(2_000));
        assert_eq!(reading.workload.classes[0].models, ["A100", "H100"]);
        assert_eq!(reading.workload.users, ["command, user ann@login-1"]);
        assert!(words(&view).contains("left out: 1 wait or run"), "{}", words(&view));
    }
}
