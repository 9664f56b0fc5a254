//! What changed from one state to the next. Pure; the sizes of all parts are bounded.

use faultline_protocol::views::RateView;
use std::collections::BTreeMap;
use std::sync::Arc;

use faultline_client::incidents::IncidentView;
use faultline_engine::job::JobId;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::state::{JobBrief, MAX_EVENTS, State};
use crate::view::{ChaosState, DemoState, NodeRow, NumberedEvent, SeriesPoint, StatsReply};

/// Rows that are new or different, and those that are no longer there.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(bound(serialize = "T: Serialize, K: Serialize"))]
pub(crate) struct Changes<T, K> {
    #[serde(serialize_with = "rows")]
    #[schema(value_type = Vec<T>)]
    pub(crate) changed: Vec<Arc<T>>,
    pub(crate) removed: Vec<K>,
}

fn rows<T: Serialize, S: Serializer>(rows: &[Arc<T>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(Arc::as_ref))
}

impl<T, K> Changes<T, K> {
    fn or_none(self) -> Option<Self> {
        (!self.changed.is_empty() || !self.removed.is_empty()).then_some(self)
    }
}

/// What changed since the message before. Parts that are absent are as they were.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats: Option<StatsReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<RateView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes: Option<Changes<NodeRow, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nodes_by_rest: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Changes<JobBrief, String>>)]
    pub(crate) jobs: Option<Changes<JobBrief, JobId>>,
    /// At most 40, the newest, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) events: Vec<NumberedEvent>,
    /// With `events`: the number of the last event before them. A page that does not have that one missed some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chaos: Option<ChaosState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) demo: Option<DemoState>,
    /// All of the state's, when any is new or different.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) incidents: Option<Vec<IncidentView>>,
    /// A second of `/api/v1/series` that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) point: Option<SeriesPoint>,
}

impl Delta {
    /// What leads from `before` to `next`, which is changed to what clients then know: rows that say the same stay as they were told.
    pub(crate) fn between(before: &State, next: &mut State) -> Self {
        let last_seq = before.events.last().map_or(0, |event| event.seq);
        let events: Vec<NumberedEvent> = next.events.iter().filter(|event| event.seq > last_seq).cloned().collect();
        let events_after = match events.first() {
            // All that a push holds is new: there may have been more in between.
            Some(first) if events.len() >= MAX_EVENTS => Some(first.seq - 1),
            Some(_) => Some(last_seq),
            None => None,
        };
        Self {
            stats: (before.stats != next.stats).then(|| next.stats.clone()),
            rate: (before.rate != next.rate).then(|| next.rate.clone()),
            nodes: node_changes(&before.nodes, &mut next.nodes).or_none(),
            nodes_by_rest: (before.nodes_by_rest != next.nodes_by_rest).then_some(next.nodes_by_rest),
            node_index: (before.node_index != next.node_index).then_some(next.node_index),
            jobs: job_changes(&before.jobs, &next.jobs).or_none(),
            events,
            events_after,
            chaos: (before.chaos != next.chaos).then(|| next.chaos.clone()),
            demo: (before.demo != next.demo).then(|| next.demo.clone()),
            incidents: next.incidents.clone().filter(|_| before.incidents != next.incidents),
            point: next.point.filter(|_| before.point != next.point),
        }
    }
}

fn node_changes(before: &BTreeMap<String, Arc<NodeRow>>, next: &mut BTreeMap<String, Arc<NodeRow>>) -> Changes<NodeRow, String> {
    let removed = before.keys().filter(|node| !next.contains_key(*node)).cloned().collect();
    let mut changed = Vec::new();
    for (node, row) in next.iter_mut() {
        match before.get(node) {
            Some(known) if known.says_the_same_as(row) => *row = Arc::clone(known),
            Some(_) | None => changed.push(Arc::clone(row)),
        }
    }
    Changes { changed, removed }
}

fn job_changes(before: &BTreeMap<JobId, Arc<JobBrief>>, next: &BTreeMap<JobId, Arc<JobBrief>>) -> Changes<JobBrief, JobId> {
    let removed = before.keys().filter(|job| !next.contains_key(*job)).copied().collect();
    let changed = next.iter().filter(|(job, brief)| before.get(*job) != Some(*brief)).map(|(_, brief)| Arc::clone(brief)).collect();
    Changes { changed, removed }
}
