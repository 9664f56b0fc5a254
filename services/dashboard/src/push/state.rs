//! The state that all WebSockets share at one moment, and what is pushed of jobs and events.

use faultline_protocol::views::RateView;
use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_client::incidents::IncidentView;
use faultline_engine::job::{AttemptOutcome, JobId, Priority};
use faultline_protocol::messages::{JobState, JobView};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::cluster::NatsState;
use crate::view::{
    ChaosState, DemoState, EventFilter, JobFilter, JobOrder, NodeRow, NumberedEvent, SERIES_SECONDS, SeriesPoint, StatsReply, View,
};

/// Of larger clusters no rows are pushed: together with jobs and events more of them could be over 64 KiB.
pub(crate) const MAX_NODES_PUSHED: usize = 64;
pub(crate) const MAX_JOBS: usize = 50;
/// The most events in one push; a page fetches the others over REST.
pub(crate) const MAX_EVENTS: usize = 40;
const MAX_INCIDENTS: usize = 6;
const MAX_TEXT_CHARS: usize = 200;
/// The newest steps of a job's path.
const MAX_STEPS: usize = 8;

/// One step of a job's path in a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct StepBrief {
    pub(crate) node: String,
    pub(crate) outcome: AttemptOutcome,
}

/// A job in a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct JobBrief {
    pub(crate) id: JobId,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) priority: Priority,
    pub(crate) state: JobState,
    pub(crate) node: Option<String>,
    pub(crate) progress_permille: u16,
    pub(crate) submitted_at_ms: u64,
    pub(crate) ended_at_ms: Option<u64>,
    /// The newest 8 steps.
    pub(crate) path: Vec<StepBrief>,
    /// Why it waits or how it ended, in words.
    pub(crate) note: String,
}

impl JobBrief {
    pub(crate) fn new(view: JobView) -> Self {
        let note = [view.waiting.map(|waiting| waiting.summary), Some(view.reason), Some(view.result)];
        let skipped = view.attempts.len().saturating_sub(MAX_STEPS);
        JobBrief {
            id: view.id,
            name: view.name,
            kind: view.kind,
            priority: view.priority,
            state: view.state,
            node: view.node,
            progress_permille: view.progress_permille,
            submitted_at_ms: view.submitted_at_ms,
            ended_at_ms: view.ended_at_ms,
            path: view.attempts.into_iter().skip(skipped).map(|row| StepBrief { node: row.node, outcome: row.outcome }).collect(),
            note: clipped(&note.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or_default()),
        }
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

/// What a client knows after it took a hello, or all deltas up to this one.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct State {
    pub(crate) stats: StatsReply,
    pub(crate) rate: RateView,
    /// By name; empty when `nodes_by_rest`.
    #[serde(serialize_with = "values")]
    #[schema(value_type = Vec<NodeRow>)]
    pub(crate) nodes: BTreeMap<String, Arc<NodeRow>>,
    /// The cluster has more than 64 nodes: ask `/api/v1/nodes` for the rows that are looked at. States are in the
    /// binary messages.
    pub(crate) nodes_by_rest: bool,
    /// Which order the binary messages have; `/api/v1/nodes/index` tells it.
    pub(crate) node_index: u32,
    /// The newest 50, newest first.
    #[serde(serialize_with = "values_newest_first")]
    #[schema(value_type = Vec<JobBrief>)]
    pub(crate) jobs: BTreeMap<JobId, Arc<JobBrief>>,
    /// The newest 40, oldest first. Texts are clipped.
    pub(crate) events: Vec<NumberedEvent>,
    pub(crate) chaos: ChaosState,
    pub(crate) demo: DemoState,
    /// The newest 6, newest first; none while this process cannot read the history yet.
    pub(crate) incidents: Option<Vec<IncidentView>>,
    /// How many seconds `/api/v1/series` keeps.
    pub(crate) series_s: usize,
    /// The newest second of it.
    pub(crate) point: Option<SeriesPoint>,
}

fn values<K, V: Serialize, S: Serializer>(map: &BTreeMap<K, Arc<V>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values().map(Arc::as_ref))
}

fn values_newest_first<K, V: Serialize, S: Serializer>(map: &BTreeMap<K, Arc<V>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values().rev().map(Arc::as_ref))
}

impl State {
    /// The state as it is now.
    pub(crate) fn of(view: &mut View, now_ms: u64, nats: NatsState, websockets: usize) -> Self {
        let index = view.nodes.index();
        let nodes_by_rest = index.nodes.len() > MAX_NODES_PUSHED;
        let nodes =
            if nodes_by_rest { BTreeMap::new() } else { view.nodes.rows(now_ms).map(|row| (row.node.clone(), Arc::new(row))).collect() };
        Self {
            stats: StatsReply::new(view, now_ms, nats, websockets),
            rate: view.rate(now_ms),
            nodes,
            nodes_by_rest,
            node_index: index.revision,
            jobs: view
                .jobs
                .page(&JobFilter::default(), JobOrder::default(), 0, 0, MAX_JOBS)
                .0
                .into_iter()
                .map(|job| (job.id, Arc::new(JobBrief::new(job))))
                .collect(),
            events: view.events.page(&EventFilter::default(), None, MAX_EVENTS).into_iter().map(clip_event).collect(),
            chaos: view.chaos.state().clone(),
            demo: view.demo(),
            incidents: view.events.is_read().then(|| view.incidents.newest(now_ms).take(MAX_INCIDENTS).map(clip_incident).collect()),
            series_s: SERIES_SECONDS,
            point: view.series.last(),
        }
    }
}

fn clip_incident(mut incident: IncidentView) -> IncidentView {
    for step in &mut incident.story {
        step.text = clipped(&step.text);
    }
    incident
}

fn clip_event(mut numbered: NumberedEvent) -> NumberedEvent {
    if numbered.event.detail.len() > MAX_TEXT_CHARS {
        numbered.event.detail = clipped(&numbered.event.detail);
    }
    numbered
}
