//! The state that WebSockets send, made once for all of them. What a client shows of the past it asks for over REST.

use std::sync::Arc;
use std::time::Duration;

use faultline_engine::job::{JobId, Priority};
use faultline_engine::node::Health;
use faultline_protocol::messages::{JobState, JobView, NodeView};
use faultline_runtime::clock::unix_ms;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::api::{RateReply, StatsReply};
use crate::app::{MAX_WEBSOCKETS, SharedView};
use crate::cluster::Cluster;
use crate::view::{EventFilter, JobFilter, NumberedEvent, View};

/// How often the state is pushed.
pub(crate) const PUSH_EVERY: Duration = Duration::from_millis(500);
/// More nodes than this are on the REST API only.
const MAX_NODES: usize = 256;
const MAX_JOBS: usize = 50;
const MAX_EVENTS: usize = 60;
const MAX_RUNNING_SHOWN: usize = 4;

/// JSON, shared by all clients and cheap to clone; empty before the first.
pub(crate) type Push = axum::extract::ws::Utf8Bytes;

/// One GPU in a push.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GpuBrief {
    pub(crate) utilisation_percent: f32,
    pub(crate) memory_used_mib: u32,
    pub(crate) memory_total_mib: u32,
    pub(crate) temperature_c: f32,
    pub(crate) power_w: f32,
    pub(crate) throttled: bool,
    /// Thousandths that are booked; absent while the scheduler has not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) used_milli: Option<u32>,
}

/// A running job in a push.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunningShown {
    pub(crate) job: JobId,
    pub(crate) progress_permille: u16,
}

/// A node in a push.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodeBrief {
    pub(crate) node: String,
    pub(crate) worker: String,
    pub(crate) model: String,
    pub(crate) health: Health,
    pub(crate) draining: bool,
    pub(crate) heartbeat_age_ms: Option<u64>,
    pub(crate) incarnation: u64,
    pub(crate) running: usize,
    /// The first few of them.
    pub(crate) running_jobs: Vec<RunningShown>,
    pub(crate) gpus: Vec<GpuBrief>,
}

/// One step of a job's path in a push.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StepBrief {
    pub(crate) node: String,
    pub(crate) outcome: faultline_engine::job::AttemptOutcome,
}

/// A job in a push.
#[derive(Debug, Serialize, ToSchema)]
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
    pub(crate) path: Vec<StepBrief>,
    /// Why it waits or how it ended, in words.
    pub(crate) note: String,
}

/// What is pushed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct State {
    /// Always `state`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// Grows by one with each push; a client that was slow sees gaps.
    pub(crate) seq: u64,
    pub(crate) at_ms: u64,
    pub(crate) stats: StatsReply,
    pub(crate) rate: RateReply,
    pub(crate) nodes: Vec<NodeBrief>,
    /// Newest first.
    pub(crate) jobs: Vec<JobBrief>,
    /// The newest, oldest first.
    pub(crate) events: Vec<NumberedEvent>,
}

fn node_brief(view: NodeView) -> NodeBrief {
    let used = view.gpu_used_milli;
    NodeBrief {
        model: view.spec.gpus.first().map(|gpu| gpu.model.clone()).unwrap_or_default(),
        node: view.spec.node,
        worker: view.spec.worker,
        health: view.health,
        draining: view.draining,
        heartbeat_age_ms: view.heartbeat_age_ms,
        incarnation: view.spec.incarnation,
        running: view.running.len(),
        running_jobs: view
            .running
            .iter()
            .take(MAX_RUNNING_SHOWN)
            .map(|run| RunningShown { job: run.job, progress_permille: run.progress_permille })
            .collect(),
        gpus: view
            .telemetry
            .iter()
            .enumerate()
            .map(|(index, gpu)| GpuBrief {
                utilisation_percent: gpu.utilisation_percent,
                memory_used_mib: gpu.memory_used_mib,
                memory_total_mib: gpu.memory_total_mib,
                temperature_c: gpu.temperature_c,
                power_w: gpu.power_w,
                throttled: gpu.throttled,
                used_milli: used.get(index).copied(),
            })
            .collect(),
    }
}

fn job_brief(view: JobView) -> JobBrief {
    let note = [view.waiting.map(|waiting| waiting.summary), Some(view.reason), Some(view.result)];
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
        path: view.attempts.into_iter().map(|row| StepBrief { node: row.node, outcome: row.outcome }).collect(),
        note: note.into_iter().flatten().find(|text| !text.is_empty()).unwrap_or_default().chars().take(200).collect(),
    }
}

/// The state as it is now.
pub(crate) fn state_of(view: &View, seq: u64, now_ms: u64, nats_connected: bool, websockets: usize) -> State {
    State {
        kind: "state",
        seq,
        at_ms: now_ms,
        stats: StatsReply::new(view, now_ms, nats_connected, websockets),
        rate: RateReply::new(view.rate()),
        nodes: view.nodes.page(None, MAX_NODES, now_ms).into_iter().map(node_brief).collect(),
        jobs: view.jobs.page(&JobFilter::default(), None, MAX_JOBS).0.into_iter().map(job_brief).collect(),
        events: view.events.page(&EventFilter::default(), None, MAX_EVENTS),
    }
}

/// Makes a push every half second while somebody listens.
pub(crate) async fn run(
    view: SharedView,
    cluster: Arc<dyn Cluster>,
    sockets: Arc<tokio::sync::Semaphore>,
    pushes: watch::Sender<Push>,
    cancel: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PUSH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seq = 0;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let open = MAX_WEBSOCKETS - sockets.available_permits();
        if open == 0 {
            continue;
        }
        seq += 1;
        let state = state_of(&view.read(), seq, unix_ms(), cluster.is_connected(), open);
        match serde_json::to_string(&state) {
            Ok(json) => drop(pushes.send_replace(json.into())),
            Err(error) => tracing::error!(%error, "the state cannot be written as JSON"),
        }
    }
}
