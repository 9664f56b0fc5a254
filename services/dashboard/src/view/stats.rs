//! The figures that the API and the pushes tell: those of the cluster, those derived here, and those of this process.

use faultline_protocol::messages::ClusterStats;
use faultline_runtime::clock::ms;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Derived, View};
use crate::cluster::NatsState;

/// Figures of the cluster and of this dashboard.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct StatsReply {
    #[serde(flatten)]
    pub(crate) cluster: ClusterStats,
    /// Present while no scheduler answers: since when, in Unix milliseconds. The figures are then counted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stale_since_ms: Option<u64>,
    pub(crate) nats_connected: bool,
    /// Present while NATS does not answer: since when, in Unix milliseconds. Jobs that run go on; nothing is placed or committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nats_silent_since_ms: Option<u64>,
    #[serde(flatten)]
    pub(crate) derived: Derived,
    /// Jobs and events in memory here.
    pub(crate) jobs_in_memory: usize,
    pub(crate) nodes_known: usize,
    /// The number of the newest event.
    pub(crate) last_event_seq: u64,
    /// Messages that this dashboard could not read, since its start.
    pub(crate) undecodable_messages: u64,
    /// WebSockets and event streams that are open.
    pub(crate) streams_open: usize,
}

impl StatsReply {
    pub(crate) fn new(view: &View, now_ms: u64, nats: NatsState, streams_open: usize) -> Self {
        let cluster = view.stats(now_ms);
        Self {
            derived: view.derived(&cluster, now_ms),
            cluster,
            stale_since_ms: view.stale_since_ms(),
            nats_connected: nats.connected,
            nats_silent_since_ms: nats.silent_for.map(|silence| now_ms.saturating_sub(ms(silence))),
            jobs_in_memory: view.jobs.len(),
            nodes_known: view.nodes.len(),
            last_event_seq: view.events.last_seq(),
            undecodable_messages: view.undecodable(),
            streams_open,
        }
    }
}
