//! What goes over the simulated network: what a process asks of the server, and what the server says to a process.

use std::sync::Arc;

use async_nats::{HeaderMap, Message, Subject};
use bytes::Bytes;
use faultline_engine::job::Priority;
use faultline_runtime::generation::Sight;
use faultline_runtime::sight::Look;
use faultline_runtime::wire::{Backlog, Delivered, DeliveryInfo, Over, Post};

/// Unix time at which every run begins.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

/// A message in a stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) subject: Subject,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) at_ms: u64,
}

/// What a process says to the server.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A message for the subscribers of its subject, and for the stream that takes it. As a request it is answered by one of them.
    Publish(Post),
    /// A message for a stream, which acknowledges it.
    Store(Post),
    Last {
        stream: &'static str,
        subject: String,
    },
    At {
        stream: &'static str,
        seq: u64,
    },
    Look {
        stream: &'static str,
    },
    Subjects {
        filter: String,
    },
    Purge {
        filter: String,
    },
    Backlog {
        priority: Priority,
    },
    /// What came into a stream after a sequence.
    Since {
        stream: &'static str,
        seq: u64,
    },
    Pull {
        priority: Priority,
        pull: u64,
        want: usize,
        expires_ms: u64,
    },
    Write {
        bucket: &'static str,
        key: String,
        value: Bytes,
        over: Over,
    },
    Remove {
        bucket: &'static str,
        key: String,
        revision: Option<u64>,
    },
}

/// What the server answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Done,
    Written {
        seq: u64,
        is_duplicate: bool,
    },
    /// The sequence that was expected is not the one that is there.
    Conflict,
    Message(Message),
    NobodyListens,
    Stored(Option<Arc<Stored>>),
    Look(Look, Sight),
    Subjects(Vec<(String, usize)>),
    Backlog(Backlog),
    Since(Sight, Vec<Arc<Stored>>),
}

#[derive(Debug)]
pub(crate) enum Msg {
    /// On a subject that the process hears.
    Plain(Message),
    /// Several at once, on the same connection.
    Many(Vec<Message>),
    Delivery {
        pull: u64,
        stored: Arc<Stored>,
        ack_subject: Subject,
        delivered: u64,
    },
    Reply {
        request: u64,
        reply: Reply,
    },
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Msg {
    pub(crate) fn fingerprint(&self) -> u64 {
        match self {
            Msg::Plain(message) => 1 ^ hash(message.subject.as_bytes()) ^ message.payload.len() as u64,
            Msg::Many(messages) => 2 + ((messages.len() as u64) << 8),
            Msg::Delivery { stored, delivered, .. } => 3 + (stored.seq << 8) + (delivered << 32),
            Msg::Reply { request, .. } => 4 + (request << 8),
        }
    }
}

impl Op {
    /// Whether its sender does not wait for an answer, and no stream takes it.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Op::Publish(post) if post.reply.is_none() && !post.subject.starts_with("$JS") && !post.subject.starts_with("_INBOX") && !is_event(&post.subject))
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        match self {
            Op::Publish(post) => 11 ^ hash(post.subject.as_bytes()) ^ hash(&post.body),
            Op::Store(post) => 12 ^ hash(post.subject.as_bytes()) ^ hash(&post.body),
            Op::Pull { want, .. } => 13 + ((*want as u64) << 8),
            Op::Write { key, value, .. } => 14 ^ hash(key.as_bytes()) ^ hash(value),
            _ => 15,
        }
    }
}

/// Whether the stream EVENTS takes the subject.
pub(crate) fn is_event(subject: &str) -> bool {
    subject.starts_with("job.ev.") || subject.starts_with("node.ev.") || subject.starts_with("fault.ev.")
}

/// A message as a reader of the stream gets it.
pub(crate) fn delivered(stored: &Stored, reply: Option<Subject>, delivered: u64, pending: u64) -> Delivered {
    let info = DeliveryInfo { seq: stored.seq, delivered: delivered.cast_signed(), stored_at_ms: stored.at_ms, pending };
    let message = Message {
        subject: stored.subject.clone(),
        reply,
        length: stored.body.len(),
        payload: stored.body.clone(),
        headers: Some(stored.headers.clone()),
        status: None,
        description: None,
    };
    Delivered { message, info: Ok(info) }
}

/// A message as the process that pulled it gets it.
pub(crate) fn pulled(stored: &Stored, ack_subject: Subject, count: u64) -> Delivered {
    delivered(stored, Some(ack_subject), count, 0)
}
