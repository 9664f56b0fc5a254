//! `incidents`: the history folded by cause, and `kill --watch`, which follows one of them to its end.

use std::collections::HashMap;
use std::time::Duration;

use comfy_table::Table;
use faultline_client::incidents::read::History;
use faultline_client::incidents::{IncidentState, IncidentView, Step, StepKind};
use faultline_runtime::clock::unix_ms;
use tokio::time::Instant;

use super::link::Link;
use crate::exit::Failure;
use crate::output::{Format, Output, clock, short_clock};

/// One round of listening.
const ROUND: Duration = Duration::from_millis(500);
/// `kill --watch` looks for so long.
const WATCHED_FOR: Duration = Duration::from_secs(60);
/// So long after the last news of an incident that is over: what was interrupted is told after the node is back.
const QUIET: Duration = Duration::from_secs(2);
/// The clocks of `up` and of this command may differ by so much.
const CLOCKS_MS: u64 = 1_000;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct IncidentsFlags {
    /// Only this one: its id as the list shows it
    #[arg(conflicts_with_all = ["follow", "limit"])]
    id: Option<String>,
    /// Keep showing what happens until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
}

pub(crate) async fn run(link: &Link, flags: &IncidentsFlags) -> Result<(), Failure> {
    let mut history = History::begin(&link.nats).await;
    history.catch_up().await?;
    if let Some(id) = &flags.id {
        let unknown = || Failure::NotFound(format!("no incident {id} in the last hour: `faultline incidents` lists them"));
        let found = history.incidents.find(&id.to_ascii_uppercase(), unix_ms()).ok_or_else(unknown)?;
        return link.out.one(&found, card);
    }
    let limit = usize::try_from(flags.limit).unwrap_or(usize::MAX);
    let shown = newest(&history, limit);
    let out = if flags.follow { link.out.endless() } else { link.out };
    match out.format {
        Format::Table if shown.is_empty() && !flags.follow => out.text("nothing has failed in the last hour\n")?,
        Format::Table => out.text(&shown.iter().map(card).collect::<Vec<_>>().join("\n"))?,
        Format::Json | Format::Jsonl => out.rows(&shown, |_| Table::new())?,
    }
    if !flags.follow {
        return Ok(());
    }
    let mut told = Told::default();
    shown.iter().for_each(|incident| drop(told.news(incident)));
    loop {
        history.follow(ROUND).await?;
        for incident in newest(&history, limit) {
            tell(&out, &mut told, &incident)?;
        }
    }
}

/// The newest ones, oldest first.
fn newest(history: &History<'_>, limit: usize) -> Vec<IncidentView> {
    let mut newest: Vec<IncidentView> = history.incidents.newest(unix_ms()).take(limit).collect();
    newest.reverse();
    newest
}

/// Follows what began at `since_ms` or later with the process `service`, until it is over.
pub(crate) async fn watch(link: &Link, service: &str, since_ms: u64) -> Result<(), Failure> {
    let mut history = History::begin(&link.nats).await;
    let (out, mut told, give_up) = (link.out.endless(), Told::default(), Instant::now() + WATCHED_FOR);
    let mut last_news = Instant::now();
    history.catch_up().await?;
    loop {
        let is_it =
            |incident: &IncidentView| incident.began_ms + CLOCKS_MS >= since_ms && incident.targets.iter().any(|target| target == service);
        let found = history.incidents.newest(unix_ms()).find(is_it);
        if let Some(incident) = &found {
            if tell(&out, &mut told, incident)? {
                last_news = Instant::now();
            }
            let is_over = incident.state == IncidentState::Recovered && incident.waiting + incident.placed_again == 0;
            if is_over && last_news.elapsed() >= QUIET {
                return Ok(());
            }
        }
        if Instant::now() >= give_up {
            let last = found.map_or("no incident was seen", |incident| match incident.state {
                IncidentState::Recovered => "recovered, and not all jobs have ended",
                IncidentState::Ongoing => "not recovered yet",
            });
            note!("watched for {} s: {last}; `faultline incidents` shows how it goes on", WATCHED_FOR.as_secs());
            return Ok(());
        }
        history.follow(ROUND).await?;
    }
}

/// What was said of each incident: a step is said again when it has changed.
#[derive(Debug, Default)]
struct Told(HashMap<(String, StepKind), String>);

impl Told {
    fn news(&mut self, incident: &IncidentView) -> Vec<Step> {
        let is_new = |step: &&Step| {
            let before = self.0.insert((incident.id.clone(), step.kind), step.text.clone());
            before.is_none_or(|text| text != step.text)
        };
        incident.story.iter().filter(is_new).cloned().collect()
    }
}

/// Returns whether there was anything to tell.
fn tell(out: &Output, told: &mut Told, incident: &IncidentView) -> Result<bool, Failure> {
    let news = told.news(incident);
    match out.format {
        _ if news.is_empty() => {}
        Format::Table => {
            let lines: Vec<String> = news.iter().map(|step| format!("{}  {}", clock(step.at_ms), step.line())).collect();
            out.text(&lines.join("\n"))?;
        }
        Format::Json | Format::Jsonl => out.rows(std::slice::from_ref(incident), |_| Table::new())?,
    }
    Ok(!news.is_empty())
}

/// The incident as a few lines.
fn card(incident: &IncidentView) -> String {
    let state = match incident.state {
        IncidentState::Ongoing => "ongoing",
        IncidentState::Recovered => "recovered",
    };
    let mut text = format!("{}  {}  {state}  {}\n", short_clock(incident.began_ms), incident.id, incident.headline);
    for step in incident.story.iter().filter(|step| step.kind != StepKind::Began) {
        text.push_str(&format!("    {}\n", step.line()));
    }
    text
}

#[cfg(test)]
mod tests {
    use faultline_client::incidents::Incidents;
    use faultline_engine::job::{AttemptId, JobId, JobState};
    use faultline_protocol::messages::{ClusterEvent, EventKind, Level};

    use super::*;

    fn incident(has_ended: bool) -> IncidentView {
        let about = |at_ms, kind, node: &str, detail: &str| ClusterEvent {
            node: Some(node.into()),
            ..ClusterEvent::new(at_ms, "x", Level::Warn, kind, detail)
        };
        let job = JobId::new(1, 1);
        let of_job = |event| ClusterEvent { job: Some(job), attempt: Some(AttemptId::new(1, 1)), ..event };
        let mut incidents = Incidents::default();
        for event in [
            about(1_700_000_000_000, EventKind::NodeGone, "gpu-node-02", "its connection ended"),
            of_job(about(1_700_000_000_001, EventKind::AttemptLost, "gpu-node-02", "gpu-node-02 is gone")),
            of_job(about(1_700_000_000_009, EventKind::JobPlaced, "gpu-node-05", "")),
            about(1_700_000_000_400, EventKind::NodeRecovered, "gpu-node-02", "back after a restart"),
        ] {
            incidents.on_event(&event);
        }
        if has_ended {
            incidents.on_ended(job, JobState::Committed, 1_700_000_002_000, None);
        }
        incidents.newest(1_700_000_003_000).next().unwrap()
    }

    #[test]
    fn a_card_tells_the_story() {
        let card = card(&incident(true));
        let lines: Vec<&str> = card.lines().collect();
        assert!(lines[0].ends_with("recovered  gpu-node-02 gone; no fault is known"), "{card}");
        assert_eq!(
            lines[1..],
            [
                "    after 0 ms: gpu-node-02 gone: its connection ended",
                "    after 1 ms: 1 job interrupted",
                "    after 9 ms: 1 of 1 placed again: 1 to gpu-node-05",
                "    after 400 ms: recovered, 0 jobs lost",
                "    after 2.0 s: of 1 job, 1 committed",
            ]
        );
    }

    #[test]
    fn only_what_has_changed_is_told_again() {
        let mut told = Told::default();
        assert_eq!(told.news(&incident(false)).len(), 5);
        assert!(told.news(&incident(false)).is_empty());
        let news = told.news(&incident(true));
        assert_eq!(news.iter().map(|step| step.text.as_str()).collect::<Vec<_>>(), ["of 1 job, 1 committed"]);
    }
}
