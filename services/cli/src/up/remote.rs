//! The commands that talk to a running `up`: down, status, scale, kill.

use std::time::Duration;

use faultline_protocol::messages::NodeView;
use faultline_protocol::streams;
use serde::Serialize;
use tokio::time::Instant;

use super::control::{self, Order, Reply};
use super::state::{self, RunningState};
use super::supervisor::{ChildStatus, Signal, State, send_signal};
use crate::args::{KillSignal, Scalable};
use crate::commands::ask as ask_leader;
use crate::exit::Failure;
use crate::output::{self, Format, Output};
use crate::session::Session;

const STOP_LIMIT: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_millis(25);
/// A scaling that waits for jobs says so, and how it goes on.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// `faultline down`: also fine when nothing runs.
pub(crate) async fn down(session: &Session) -> Result<(), Failure> {
    state::check_access(&session.data_dir)?;
    let Some(pid) = state::holder(&session.data_dir) else {
        note!("nothing runs on {}", session.data_dir.display());
        return Ok(());
    };
    send_signal(pid, Signal::TERM);
    let deadline = Instant::now() + STOP_LIMIT;
    while state::holder(&session.data_dir).is_some() {
        if Instant::now() >= deadline {
            return Err(Failure::Failed(anyhow::anyhow!("process {pid} did not stop within {} s", STOP_LIMIT.as_secs())));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    note!("stopped");
    Ok(())
}

/// What `faultline status` prints.
#[derive(Debug, Serialize)]
struct StatusReport {
    pid: u32,
    uptime_s: u64,
    nats_url: String,
    nats_reachable: bool,
    dashboard_url: Option<String>,
    counts: Option<Counts>,
    services: Vec<ChildStatus>,
}

/// Messages in the streams.
#[derive(Debug, Serialize)]
struct Counts {
    /// Jobs that wait or run.
    jobs_open: u64,
    /// Open markers, and ends of the last 10 minutes.
    results: u64,
    /// Jobs given up in the last 7 days.
    dead: u64,
    /// Nodes that ever registered.
    nodes: u64,
}

/// `faultline status`.
pub(crate) async fn status(session: &Session) -> Result<(), Failure> {
    let state = running(session)?;
    let Reply::Status { uptime_s, services } = ask(&state, &Order::Status).await? else {
        return Err(Failure::Failed(anyhow::anyhow!("`faultline up` gave another answer than was asked for")));
    };
    let counts = counts(session).await;
    let report = StatusReport {
        pid: state.pid,
        uptime_s,
        nats_url: state.nats_url,
        nats_reachable: counts.is_some(),
        dashboard_url: state.dashboard_url,
        counts,
        services,
    };
    let out = Output::new(session.format, session.common.color);
    match session.format {
        Format::Table => out.text(&in_words(&report, &out))?,
        Format::Json | Format::Jsonl => out.one(&report, |_| String::new())?,
    }
    if report.nats_reachable { Ok(()) } else { Err(Failure::Unreachable(format!("NATS at {} does not answer", report.nats_url))) }
}

fn in_words(report: &StatusReport, out: &Output) -> String {
    let mut facts = vec![
        ("up", format!("process {}, {}", report.pid, output::span(report.uptime_s * 1000))),
        ("nats", format!("{}, {}", report.nats_url, if report.nats_reachable { "answers" } else { "does not answer" })),
    ];
    facts.extend(report.dashboard_url.clone().map(|url| ("dashboard", url)));
    if let Some(Counts { jobs_open, results, dead, nodes }) = report.counts {
        facts.push(("streams", format!("{jobs_open} jobs open, {results} records, {dead} dead, {nodes} nodes registered")));
    }
    let mut table = output::table(&["service", "state", "pid", "uptime", "restarts", "admin", "last exit"]);
    for child in &report.services {
        let state = match child.state {
            State::Running => "running",
            State::Waiting => "waiting",
            State::Stopping => "stopping",
        };
        let uptime = child.pid.map(|_| output::span(child.uptime_s * 1000)).unwrap_or_default();
        let pid = child.pid.map(|pid| pid.to_string()).unwrap_or_default();
        table.add_row([
            child.name.clone(),
            state.into(),
            pid,
            uptime,
            child.restarts.to_string(),
            child.admin.map(|address| address.to_string()).unwrap_or_default(),
            child.last_exit.clone().unwrap_or_default(),
        ]);
    }
    format!("{}\n{}", out.render(output::facts(&facts)), out.render(table))
}

/// None when NATS does not answer.
async fn counts(session: &Session) -> Option<Counts> {
    let nats = session.connect().await.ok()?;
    let mut messages = [0; 4];
    let nodes = format!("KV_{}", streams::KV_NODES);
    for (at, stream) in [streams::JOBS, streams::RESULTS, streams::DEAD, &nodes].into_iter().enumerate() {
        messages[at] = nats.jetstream.get_stream(stream).await.ok()?.cached_info().state.messages;
    }
    nats.close().await;
    let [jobs_open, results, dead, nodes] = messages;
    Some(Counts { jobs_open, results, dead, nodes })
}

/// `faultline scale workers N`: returns when it is done, and says what it waits for.
pub(crate) async fn scale(session: &Session, what: Scalable, count: u32) -> Result<(), Failure> {
    let Scalable::Workers = what;
    let state = running(session)?;
    let order = Order::Scale { workers: count };
    let mut asked = std::pin::pin!(ask(&state, &order));
    let mut waits = tokio::time::interval_at(Instant::now() + TELL_EVERY, TELL_EVERY);
    let mut told = String::new();
    let reply = loop {
        tokio::select! {
            reply = &mut asked => break reply?,
            _ = waits.tick() => {
                let text = waited_for(session, &state).await;
                if !text.is_empty() && text != told {
                    note!("{text}");
                    told = text;
                }
            }
        }
    };
    if let Reply::Scaled { started, stopped } = reply {
        let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(" ") };
        note!("started: {}; stopped: {}", list(&started), list(&stopped));
    }
    Ok(())
}

/// The workers that are stopping, with the jobs that they still have; empty when there are none.
async fn waited_for(session: &Session, state: &RunningState) -> String {
    let Ok(Reply::Status { services, .. }) = ask(state, &Order::Status).await else { return String::new() };
    let stopping: Vec<String> = services.into_iter().filter(|child| child.state == State::Stopping).map(|child| child.name).collect();
    let nodes = match session.connect().await {
        Ok(nats) => {
            let nodes = ask_leader::nodes(&nats).await.unwrap_or_default();
            nats.close().await;
            nodes
        }
        Err(_) => Vec::new(),
    };
    waiting_words(&stopping, &nodes)
}

fn waiting_words(stopping: &[String], nodes: &[NodeView]) -> String {
    if stopping.is_empty() {
        return String::new();
    }
    let jobs_of =
        |worker: &String| nodes.iter().filter(|node| node.spec.worker == *worker).map(|node| node.running.len() as u64).sum::<u64>();
    let each: Vec<String> = stopping.iter().map(|worker| format!("{worker} ({})", output::plural(jobs_of(worker), "job"))).collect();
    format!("waiting until these have finished what they run, 30 s at most: {}", each.join(", "))
}

/// `faultline kill NAME`.
pub(crate) async fn kill(session: &Session, service: String, signal: KillSignal) -> Result<(), Failure> {
    let words = format!("{} sent to {service}", signal.name());
    ask(&running(session)?, &Order::Kill { service, signal }).await?;
    note!("{words}");
    Ok(())
}

/// Where the running `up` is to be found.
pub(crate) fn running(session: &Session) -> Result<RunningState, Failure> {
    state::check_access(&session.data_dir)?;
    let nothing = || Failure::NotFound(format!("no `faultline up` runs on the data folder {}", session.data_dir.display()));
    let pid = state::holder(&session.data_dir).ok_or_else(nothing)?;
    // While it starts, the note is still the last one's, or not there.
    let state = RunningState::read(&session.data_dir).filter(|state| state.pid == pid);
    state.ok_or_else(|| Failure::Failed(anyhow::anyhow!("`faultline up` (process {pid}) is still starting, or stopping: try again")))
}

/// The `up` on this machine that runs the cluster of this session; it can be asked also while NATS is away.
pub(crate) fn here(session: &Session) -> Option<RunningState> {
    running(session).ok().filter(|up| up.nats_url == session.common_for("cli").nats_url)
}

/// Sends an order; a refusal is a failure with the reason.
pub(crate) async fn ask(state: &RunningState, order: &Order) -> Result<Reply, Failure> {
    match control::ask(&state.control_socket, order).await? {
        Reply::NotFound { reason } => Err(Failure::NotFound(reason)),
        Reply::Failed { reason } => Err(Failure::Failed(anyhow::anyhow!(reason))),
        reply => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaling_names_the_workers_that_it_waits_for() {
        assert_eq!(waiting_words(&[], &[]), "");
        let words = waiting_words(&["worker-09".to_owned(), "worker-10".to_owned()], &[]);
        assert_eq!(words, "waiting until these have finished what they run, 30 s at most: worker-09 (0 jobs), worker-10 (0 jobs)");
    }
}
