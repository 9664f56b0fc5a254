//! `faultline chaos ...`: asks the running `up`, shows the progress, and is not part of the experiment: when the command dies, the
//! experiment goes on and ends by itself; Ctrl-C aborts it.

use std::time::Duration;

use anyhow::anyhow;
use faultline_client::experiments::Started;
use faultline_client::observe::hypothesis::{self, Unit};
use faultline_client::{ClientError, Up};
use faultline_cluster::experiment::kinds;
use faultline_cluster::up::remote;
use faultline_cluster::up::state::{self, RunningState};
use faultline_cluster::up::who;
use faultline_protocol::codec;
use faultline_protocol::messages::{ChaosAbort, ChaosOutcome, ChaosPhase, ChaosProgress, ChaosReport};
use faultline_protocol::subjects;
use faultline_runtime::clock::unix_ms;
use futures::StreamExt;
use tokio::time::Instant;

use super::args::{ChaosCommand, RunFlags};
use super::report;
use crate::commands::link::{self, Link};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Format, Output, one_line, plural, span, table};
use crate::session::Session;

const ANSWER: Duration = Duration::from_secs(3);
/// After this much silence the list is asked: progress is plain messages, and NATS may be the victim.
const ASK_AFTER: Duration = Duration::from_secs(3);
/// `up` answers nothing for so long, beyond the fault's own time: it is gone, and its processes with it.
const GONE_AFTER: Duration = Duration::from_secs(60);
const RUNS_LISTED: u32 = 20;

pub(crate) async fn run(session: &Session, command: ChaosCommand) -> Result<(), Failure> {
    match command {
        ChaosCommand::Run(flags) => link::with(session, async |link| experiment(link, &flags).await).await,
        ChaosCommand::Abort => match session.here() {
            Some(up) => abort_here(&up).await,
            None => link::with(session, async |link| abort(link, None).await.map(|run| put_right(&run))).await,
        },
        ChaosCommand::Ls => link::with(session, async |link| list(link).await).await,
        ChaosCommand::Metrics => metrics(&Output::new(session.format, session.common.color)),
    }
}

async fn list(link: &Link) -> Result<(), Failure> {
    let list = up(link).list(RUNS_LISTED).await?;
    link.out.one(&list, |list| report::list_words(list, &link.out, unix_ms()))
}

/// The same without a cluster.
fn metrics(out: &Output) -> Result<(), Failure> {
    let rows: Vec<_> =
        hypothesis::metrics().map(|metric| MetricRow { metric: metric.name, unit: unit(metric.unit), what: metric.does }).collect();
    out.rows(&rows, |rows| {
        let mut shown = table(&["METRIC", "UNIT", "WHAT IT IS"]);
        for row in rows {
            shown.add_row([row.metric, row.unit, row.what]);
        }
        shown
    })
}

#[derive(serde::Serialize)]
struct MetricRow {
    metric: &'static str,
    unit: &'static str,
    what: &'static str,
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "number",
        Unit::Duration => "ms, s, m",
        Unit::Share => "0 to 1, or %",
        Unit::Rate => "a second",
        Unit::GpuSeconds => "GPU-seconds",
    }
}

fn up(link: &Link) -> Up<'_> {
    Up::of(&link.nats, ANSWER)
}

fn put_right(run: &str) {
    note!("{run}: repairing everything, then it ends");
}

/// `chaos abort` beside the `up` that experiments: NATS, which may be what is broken, is not needed.
async fn abort_here(up: &RunningState) -> Result<(), Failure> {
    order_abort(up, None).await.map(|run| put_right(&run))
}

async fn order_abort(up: &RunningState, run: Option<String>) -> Result<String, Failure> {
    Ok(remote::abort(up, run).await?)
}

async fn abort(link: &Link, run: Option<String>) -> Result<String, Failure> {
    if let Some(up) = &link.up {
        return order_abort(up, run).await;
    }
    let abort = ChaosAbort { run, by: who::me("faultline chaos abort") };
    match up(link).abort(&abort).await {
        Err(ClientError::RefusedByUp(reason)) => Err(Failure::NotFound(reason)),
        answered => Ok(answered?),
    }
}

async fn experiment(link: &Link, flags: &RunFlags) -> Result<(), Failure> {
    let request = flags.request().map_err(Failure::Usage)?;
    // What `up` would refuse is refused here with the code for bad usage.
    let (checked, _) = kinds::check(request.clone()).map_err(Failure::Usage)?;
    let patience = GONE_AFTER + Duration::from_millis(checked.for_ms);
    let mut interrupts = Interrupts::listen()?;
    let failed = |error: String| Failure::Failed(anyhow!("cannot subscribe to the progress: {error}"));
    let mut heard = link.nats.client.subscribe(subjects::CHAOS_PROGRESS_ALL).await.map_err(|error| failed(error.to_string()))?;
    link.nats.client.flush().await.map_err(|error| failed(error.to_string()))?;
    let Started { run, seed } = up(link).run(&request).await?;
    note!("experiment {run}: {}, seed {seed}", request.kind.as_str());
    let report = tokio::select! {
        report = follow(link, &mut heard, &run, patience) => report?,
        () = interrupts.next() => {
            note!("aborting: repairing everything");
            abort(link, Some(run.clone())).await?;
            follow(link, &mut heard, &run, GONE_AFTER).await?
        }
    };
    link.out.one(&report, |report| report::words(report, &link.out))?;
    match report.outcome {
        ChaosOutcome::Passed => Ok(()),
        ChaosOutcome::Failed => Err(Failure::CheckFailed(format!("the experiment failed: {}", report.reason))),
        ChaosOutcome::Aborted => Err(Failure::Failed(anyhow!("the experiment ended early: {}", report.reason))),
        ChaosOutcome::Refused | ChaosOutcome::Broken => Err(Failure::Failed(anyhow!("the experiment did not run: {}", report.reason))),
    }
}

/// Shows the progress until the report is there. Silence is borne for so long: while NATS is broken, no progress arrives.
async fn follow(link: &Link, heard: &mut async_nats::Subscriber, run: &str, patience: Duration) -> Result<ChaosReport, Failure> {
    let mut last_word = Instant::now();
    let mut shown = String::new();
    let mut is_answered = true;
    loop {
        let progress = match tokio::time::timeout(ASK_AFTER, heard.next()).await {
            Ok(Some(message)) => codec::decode_plain::<ChaosProgress>(subjects::CHAOS_PROGRESS_ALL, &message).ok(),
            Ok(None) => return Err(Failure::Unreachable("the connection to NATS was closed".into())),
            Err(_) => match up(link).list(RUNS_LISTED).await {
                Ok(list) => {
                    last_word = Instant::now();
                    is_answered = true;
                    if let Some(report) = list.runs.into_iter().find(|report| report.run == run) {
                        return Ok(report);
                    }
                    if list.running.as_ref().is_none_or(|running| running.run != run) {
                        return Err(Failure::Failed(anyhow!("the experiment ended without a report: the log of `up` says why")));
                    }
                    list.running
                }
                Err(error) if last_word.elapsed() >= patience => return Err(error.into()),
                Err(_) if link.up.as_ref().is_some_and(|up| state::holder(&link.data_dir) != Some(up.pid)) => {
                    return Err(Failure::NotFound("`faultline up` has ended, and the experiment with it".into()));
                }
                Err(_) => {
                    if std::mem::take(&mut is_answered) {
                        note!("no answer: NATS may be the target; the experiment continues, waiting");
                    }
                    None
                }
            },
        };
        let Some(progress) = progress.filter(|progress| progress.run == run) else { continue };
        last_word = Instant::now();
        if let Some(report) = progress.report {
            return Ok(*report);
        }
        show(link, &progress, &mut shown);
    }
}

/// On standard error: the data is the report.
fn show(link: &Link, progress: &ChaosProgress, shown: &mut String) {
    let jobs = progress.sample.map_or_else(
        || "no scheduler answers".to_owned(),
        |sample| {
            let (nodes, jobs) = (plural(sample.nodes_known.into(), "node"), plural(sample.jobs_running, "running job"));
            format!("{} of {nodes} alive, {jobs}", sample.nodes_alive)
        },
    );
    let left = span(progress.left_ms.div_ceil(1000) * 1000);
    let limit = if matches!(progress.phase, ChaosPhase::Checking | ChaosPhase::After) { "at most " } else { "" };
    let line = format!("{:<8} {limit}{left} left; {jobs}; {}", progress.phase.as_str(), progress.detail);
    if line != *shown && link.out.format == Format::Table {
        note!("{}", one_line(&line));
        *shown = line;
    }
}
