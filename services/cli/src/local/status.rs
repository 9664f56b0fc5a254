//! `faultline status`: what `up` runs, and how much work there is.

use faultline_client::Leader;
use faultline_cluster::up::remote;
use faultline_cluster::up::supervisor::{ChildStatus, State};
use faultline_protocol::messages::ClusterStats;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{self, Format, Output};
use crate::session::Session;

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

/// The leader's figures, which the page and `top` show too.
#[derive(Debug, Serialize)]
struct Counts {
    /// Jobs that wait or run.
    jobs_open: u64,
    jobs_running: u64,
    jobs_committed: u64,
    /// Jobs that were given up.
    dead: u64,
    /// Jobs whose message left JOBS before they had ended.
    jobs_lost: u64,
    /// Nodes that have registered and not left, whatever their health.
    nodes: u64,
    nodes_alive: u64,
}

impl From<&ClusterStats> for Counts {
    fn from(stats: &ClusterStats) -> Self {
        Self {
            jobs_open: stats.queued_in_stream + stats.queued_held + stats.running,
            jobs_running: stats.running,
            jobs_committed: stats.ledger.committed,
            dead: stats.ledger.dead,
            jobs_lost: stats.ledger.vanished,
            nodes: [stats.nodes_alive, stats.nodes_suspect, stats.nodes_gone, stats.nodes_dead].map(u64::from).iter().sum(),
            nodes_alive: stats.nodes_alive.into(),
        }
    }
}

/// What the cluster answers.
enum Answers {
    Nothing,
    /// NATS, and no scheduler.
    Nats,
    All(Box<Counts>),
}

/// `faultline status`.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let state = session.running()?;
    let (uptime_s, services) = remote::status(&state).await?;
    let answers = answers(session).await;
    let report = StatusReport {
        pid: state.pid,
        uptime_s,
        nats_url: state.nats_url,
        nats_reachable: !matches!(answers, Answers::Nothing),
        dashboard_url: state.dashboard_url,
        counts: if let Answers::All(counts) = answers { Some(*counts) } else { None },
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
    facts.extend(match &report.counts {
        Some(counts) => vec![
            ("nodes", format!("{} of {} alive", counts.nodes_alive, counts.nodes)),
            ("jobs", format!("{}; counted once a second", jobs_words(counts))),
        ],
        None if report.nats_reachable => vec![("scheduler", "none answers: nothing new is placed".to_owned())],
        None => Vec::new(),
    });
    let mut table = output::table(&["SERVICE", "STATE", "PID", "UPTIME", "RESTARTS", "ADMIN", "LAST EXIT"]);
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

fn jobs_words(counts: &Counts) -> String {
    let queued = counts.jobs_open.saturating_sub(counts.jobs_running);
    let numbers = [queued, counts.jobs_running, counts.jobs_committed, counts.dead].map(output::count);
    let [queued, running, committed, given_up] = numbers;
    let lost =
        if counts.jobs_lost > 0 { format!(", {} lost: run `faultline audit`", output::count(counts.jobs_lost)) } else { String::new() };
    format!("{queued} queued, {running} running, {committed} committed, {given_up} given up{lost}")
}

async fn answers(session: &Session) -> Answers {
    let Ok(nats) = session.connect().await else { return Answers::Nothing };
    let answer = match Leader::of(&nats).stats().await {
        Ok(stats) => Answers::All(Box::new(Counts::from(&stats))),
        Err(_) if nats.answers().await => Answers::Nats,
        Err(_) => Answers::Nothing,
    };
    nats.close().await;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_counts_what_the_leader_counts_and_only_nodes_that_are_there() {
        let mut stats = ClusterStats {
            nodes_alive: 6,
            nodes_suspect: 1,
            nodes_dead: 1,
            queued_in_stream: 2,
            queued_held: 1,
            running: 5,
            ..ClusterStats::default()
        };
        (stats.ledger.committed, stats.ledger.dead) = (769, 48);
        let counts = Counts::from(&stats);
        assert_eq!((counts.nodes, counts.nodes_alive, counts.jobs_open), (8, 6, 8));
        assert_eq!(jobs_words(&counts), "3 queued, 5 running, 769 committed, 48 given up");
        stats.ledger.vanished = 2;
        assert!(jobs_words(&Counts::from(&stats)).ends_with("48 given up, 2 lost: run `faultline audit`"));
    }
}
