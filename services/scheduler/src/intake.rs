//! What comes in from buckets and queues, as one stream of inputs for the leader's loop: watches that end are made anew,
//! messages that cannot be read are told apart from jobs. Nothing is decided here.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_nats::jetstream::kv;
use faultline_engine::job::{JobId, Priority, is_token};
use faultline_engine::node::NodeSpec;
use faultline_engine::scheduler::{Delivery, Heard, PendingMessage, RecordRead};
use faultline_protocol::codec::{self, HEADER_JOB_OPEN_SEQ};
use faultline_protocol::messages::{DrainSetting, NodeRegistration, QueuedJob};
use faultline_protocol::{streams, subjects};
use faultline_runtime::connection::Connection;
use faultline_runtime::pull::{self, Allowance};
use faultline_runtime::watch::{self, Watched};
use faultline_runtime::wire::Delivered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const WATCHED: usize = 256;
/// The most messages that one pull asks for.
const MAX_BATCH: usize = 500;

/// Something that happened while a task of the leader was away.
#[derive(Debug)]
pub(crate) enum Input {
    Registered(NodeSpec),
    /// The registration was removed.
    Unregistered(String),
    Drain {
        node: String,
        draining: bool,
        /// Why, and which user asked; empty where it is unknown.
        why: String,
    },
    RecordsRead(Vec<(JobId, RecordRead)>),
    Cancelled(JobId),
    /// What JetStream has delivered and waits for.
    Pending(Vec<PendingMessage>),
    /// What became of a request to the policy program.
    Answered {
        number: u64,
        heard: Heard,
    },
    /// The ledger asks which of these jobs the scheduler holds.
    AreHeld {
        jobs: Vec<JobId>,
        answer: oneshot::Sender<BTreeSet<JobId>>,
    },
}

/// An unreadable message of JOBS.
#[derive(Debug)]
pub(crate) struct Poison {
    pub(crate) reason: String,
    pub(crate) open_seq: Option<u64>,
}

/// How much each priority may still pull; written by the leader's loop, read by the pull loops.
#[derive(Debug, Default)]
pub(crate) struct Room([Arc<Allowance>; Priority::ALL.len()]);

impl Room {
    pub(crate) fn set(&self, priority: Priority, free: usize) {
        self.0[priority as usize].set(free.min(MAX_BATCH));
    }
}

/// Pulls every priority by itself, so that a backlog of one cannot keep another out.
pub(crate) fn spawn_pulls(nats: &Connection, room: &Room, out: &mpsc::Sender<Delivered>, cancel: &CancellationToken, tasks: &TaskTracker) {
    for priority in Priority::ALL {
        let (consumer, allowance) = (streams::queue_consumer_name(priority), Arc::clone(&room.0[priority as usize]));
        let pulling = pull::run(nats.clone(), streams::JOBS, consumer, allowance, out.clone(), cancel.clone());
        nats.spawner().spawn_tracked(tasks, pulling);
    }
}

/// Follows the registrations and the operator's settings. What an entry means is read by [`read_registration`] and [`read_control`].
pub(crate) fn spawn_watches(
    nats: &Connection,
    cancel: &CancellationToken,
    tasks: &TaskTracker,
) -> (mpsc::Receiver<Watched>, mpsc::Receiver<Watched>) {
    let follow = |bucket| {
        let (out, entries) = mpsc::channel(WATCHED);
        nats.spawner().spawn_tracked(tasks, watch::run(nats.clone(), bucket, out, cancel.clone()));
        entries
    };
    (follow(streams::KV_NODES), follow(streams::KV_CONTROL))
}

pub(crate) fn read_registration(entry: &kv::Entry) -> Result<Input, String> {
    if entry.operation != kv::Operation::Put {
        return Ok(Input::Unregistered(entry.key.clone()));
    }
    match codec::decode_body::<NodeRegistration>(&entry.value) {
        Ok(NodeRegistration { spec, .. }) if !is_token(&spec.node) || !is_token(&spec.worker) => {
            Err("invalid name of the node or worker".into())
        }
        Ok(NodeRegistration { spec, .. }) if spec.node == entry.key => Ok(Input::Registered(spec)),
        Ok(_) => Err("it is a registration of another node".into()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn read_control(entry: &kv::Entry) -> Option<Input> {
    let node = subjects::drained_node(&entry.key)?.to_owned();
    let draining = entry.operation == kv::Operation::Put;
    // The key alone counts, whatever its value says.
    let why = codec::decode_body::<DrainSetting>(&entry.value).ok().filter(|_| draining).map(drain_words).unwrap_or_default();
    Some(Input::Drain { node, draining, why })
}

fn drain_words(setting: DrainSetting) -> String {
    let by = if setting.by.is_empty() { String::new() } else { format!("by {}", setting.by) };
    [setting.reason, by].into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Turns a message into a job, or says why it is none.
pub(crate) fn read_delivery(message: &Delivered) -> Result<Delivery, Poison> {
    let header = |name| message.headers.as_ref().and_then(|headers| headers.get(name)).map(|value| value.as_str());
    let open_seq = header(HEADER_JOB_OPEN_SEQ).and_then(|text| text.parse::<u64>().ok());
    let poison = |reason: String| Poison { reason, open_seq };
    // The server can be made to put a stored message of another stream here, by a client that may not submit.
    if header("Nats-Stream").is_some() {
        return Err(poison("it is a copy of a stored message, not a submission".into()));
    }
    let queued: QueuedJob =
        codec::decode(message.headers.as_ref(), &message.payload).map_err(|error| poison(format!("undecodable: {error}")))?;
    let Some(seq) = open_seq else {
        return Err(poison(format!("the header {HEADER_JOB_OPEN_SEQ} is missing or invalid: publish the open marker first")));
    };
    if subjects::queued_job_id(&message.subject) != Some(queued.spec.id) {
        return Err(poison(format!("the subject {} names another job than the body, {}", message.subject, queued.spec.id)));
    }
    let Some(ack_subject) = message.reply.as_ref().map(ToString::to_string) else { return Err(poison("it has no ack subject".into())) };
    let info = message.info.as_ref().map_err(|error| poison(format!("JetStream does not say when it was stored: {error}")))?;
    let stored_at_ms = info.stored_at_ms;
    Ok(Delivery { spec: queued.spec, open_seq: seq, stored_at_ms, ack_subject, redelivered: info.delivered > 1 })
}
