//! `events`: the cluster's history from EVENTS, and what is added to it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use comfy_table::Table;
use faultline_engine::job::JobRef;
use faultline_protocol::messages::{ClusterEvent, EventBatch, EventKind, Level};
use faultline_protocol::{codec, streams, subjects};
use faultline_runtime::clock;
use faultline_runtime::read::{From, Reader, Row};
use serde::Deserialize;

use super::ids;
use super::link::Link;
use super::parse;
use crate::exit::Failure;
use crate::output::{Mood, clock as clock_words, mood, span, table};

/// One round of listening; events are shown at once as they come.
const ROUND: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EventsFlags {
    /// Keep showing new events until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only what happened at most this long ago (the history holds one hour)
    #[arg(long, value_name = "DURATION", value_parser = parse::positive_duration, allow_hyphen_values = true)]
    since: Option<Duration>,
    /// The newest N
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    limit: u64,
    /// Only this kind, such as node_dead or fault_began; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = event_kind)]
    kinds: Vec<EventKind>,
    /// Only about this node
    #[arg(long, value_name = "NODE", value_parser = parse::node_name)]
    node: Option<String>,
    /// Only about this job: its id, or at least 8 characters from its beginning or end
    #[arg(long, value_name = "ID", value_parser = parse::job_ref)]
    job: Option<JobRef>,
}

/// The glossary's words for kinds that have older names in JSON.
const WORDS: [(&str, &str); 2] = [("attempt_interrupted", "attempt_lost"), ("job_given_up", "job_dead")];

/// The kind by the name that it is shown with, or that it has in JSON; `-` does as well as `_`.
fn event_kind(text: &str) -> Result<EventKind, String> {
    let name = text.to_ascii_lowercase().replace('-', "_");
    let name = WORDS.iter().find(|(word, _)| *word == name).map_or(name, |(_, json)| (*json).to_owned());
    let input = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(&name);
    EventKind::deserialize(input).map_err(|error| error.to_string())
}

fn kind_name(kind: EventKind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => WORDS.iter().find(|(_, json)| *json == name).map_or(name, |(word, _)| (*word).to_owned()),
        Ok(_) | Err(_) => format!("{kind:?}"),
    }
}

impl EventsFlags {
    fn wants(&self, event: &ClusterEvent, since_ms: u64) -> bool {
        event.at_ms >= since_ms
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.node.as_ref().is_none_or(|node| event.node.as_ref() == Some(node))
            && self.job.as_ref().is_none_or(|job| event.job.is_some_and(|id| job.is_of(id)))
    }

    /// The wanted events of one message; a message that cannot be read is reported, not fatal.
    fn pick(&self, row: &Row, since_ms: u64) -> Vec<ClusterEvent> {
        match codec::decode::<EventBatch>(Some(&row.headers), &row.body) {
            Ok(batch) => batch.anchored(row.stored_at_ms).into_iter().filter(|event| self.wants(event, since_ms)).collect(),
            Err(error) => {
                tracing::warn!(subject = row.subject, %error, "unreadable event");
                Vec::new()
            }
        }
    }
}

pub(crate) async fn run(link: &Link, flags: &EventsFlags) -> Result<(), Failure> {
    let since_ms = flags.since.map_or(0, |since| clock::unix_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    let from = if since_ms == 0 { From::Start } else { From::Time(since_ms) };
    let filters = match flags.job {
        Some(JobRef::Whole(job)) => {
            vec![subjects::job_event(job), subjects::job_interrupted_event(job), subjects::JOB_EVENT_MANY.to_owned()]
        }
        // The history goes further back than the records: a part of an id is looked for in the events themselves.
        Some(JobRef::Part(_)) | None => Vec::new(),
    };
    let limit = usize::try_from(flags.limit).unwrap_or(usize::MAX);
    let mut newest: VecDeque<ClusterEvent> = VecDeque::new();
    let mut reader = Reader::new(&link.nats, streams::EVENTS, from).filters(filters);
    reader
        .read_to_end(|row| {
            for event in flags.pick(&row, since_ms) {
                if newest.len() == limit {
                    newest.pop_front();
                }
                newest.push_back(event);
            }
            ControlFlow::Continue(())
        })
        .await?;
    let newest: Vec<ClusterEvent> = newest.into();
    // What does not happen yet may still come.
    if let Some(job @ JobRef::Part(_)) = flags.job.as_ref().filter(|_| !flags.follow || !newest.is_empty()) {
        ids::only_one(job, newest.iter().filter_map(|event| event.job))?;
    }
    if !flags.follow {
        return link.out.rows(&newest, events_table);
    }
    let lines = link.out.endless();
    lines.rows(&newest, events_table)?;
    loop {
        let mut written = Ok(());
        reader
            .follow(ROUND, |row| {
                let events = flags.pick(&row, since_ms);
                if !events.is_empty() {
                    written = lines.more_rows(&events, events_table);
                }
                if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .await?;
        written?;
    }
}

/// What a service itself said of the time, when that cannot have been.
fn moved_words(by_ms: i64) -> String {
    let way = if by_ms < 0 { "ahead" } else { "behind" };
    format!(" (the service's clock was {} {way})", span(by_ms.unsigned_abs()))
}

fn events_table(events: &[ClusterEvent]) -> Table {
    // Fixed widths: what `--follow` adds later must stand under the same heads.
    let mut rows = table(&["TIME", "LEVEL", "SERVICE", "EVENT", "WHAT"]);
    for event in events {
        let (level, how) = match event.level {
            Level::Debug => ("debug", Mood::Busy),
            Level::Info => ("info", Mood::Good),
            Level::Warn => ("warn", Mood::Doubtful),
            Level::Error => ("error", Mood::Bad),
        };
        let mut what: Vec<String> = Vec::new();
        what.extend(event.node.clone());
        what.extend(event.job.map(|job| job.to_string()));
        let about = what.join(" ");
        let text = match (about.is_empty(), event.detail.is_empty()) {
            (true, _) => event.detail.clone(),
            (false, true) => about,
            (false, false) => format!("{about}: {}", event.detail),
        };
        let text = format!("{text}{}", event.moved_by_ms.map(moved_words).unwrap_or_default());
        rows.add_row([
            clock_words(event.at_ms).into(),
            mood(format!("{level:<5}"), how),
            format!("{:<14}", event.service).into(),
            format!("{:<19}", kind_name(event.kind)).into(),
            text.into(),
        ]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use faultline_engine::job::JobId;

    use super::*;

    fn event() -> ClusterEvent {
        let mut event = ClusterEvent::new(3_723_004, "scheduler-1", Level::Warn, EventKind::AttemptLost, "its node is gone");
        event.node = Some("gpu-node-01".into());
        event.job = Some(JobId::new(0, 1));
        event
    }

    fn flags(kinds: Vec<EventKind>, node: Option<&str>) -> EventsFlags {
        EventsFlags { follow: false, since: None, limit: 1, kinds, node: node.map(str::to_owned), job: None }
    }

    #[test]
    fn kinds_have_their_names() {
        assert_eq!(event_kind("node_dead"), Ok(EventKind::NodeDead));
        assert_eq!(event_kind("Fault-Began"), Ok(EventKind::FaultBegan));
        assert_eq!(kind_name(EventKind::RateChanged), "rate_changed");
        assert_eq!(kind_name(EventKind::AttemptLost), "attempt_interrupted");
        assert_eq!(
            (event_kind("attempt-interrupted"), event_kind("attempt_lost")),
            (Ok(EventKind::AttemptLost), Ok(EventKind::AttemptLost))
        );
        let refused = event_kind("boom").unwrap_err();
        assert!(refused.contains("boom") && refused.contains("leader_elected"), "{refused}");
    }

    #[test]
    fn a_clock_that_was_off_is_told_in_words() {
        assert_eq!(moved_words(-3_600_000), " (the service's clock was 1 h ahead)");
        assert_eq!(moved_words(700_000), " (the service's clock was 11 min 40 s behind)");
    }

    #[test]
    fn filters_add_up() {
        assert!(flags(vec![], None).wants(&event(), 0));
        assert!(!flags(vec![], None).wants(&event(), 3_723_005));
        assert!(!flags(vec![EventKind::NodeDead], None).wants(&event(), 0));
        assert!(flags(vec![EventKind::AttemptLost], Some("gpu-node-01")).wants(&event(), 0));
        assert!(!flags(vec![], Some("gpu-node-02")).wants(&event(), 0));
    }

    #[test]
    fn one_line_an_event() {
        faultline_runtime::times::show_utc(true);
        let mut rows = events_table(&[event()]);
        rows.force_no_tty().set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        let expected = "\
TIME           LEVEL  SERVICE         EVENT                WHAT
01:02:03.004Z  warn   scheduler-1     attempt_interrupted  gpu-node-01 00000000000000000000000001: its node is gone";
        assert_eq!(rows.trim_fmt(), expected);
    }
}
