//! `job.end.<worker>` and `job.end.leader`: entries of the log of ends. Entries of one pack that follow each other share what they have in common,
//! so a worker that ends many tasks of a pack at once writes little more than their results.

use bytes::Bytes;
use faultline_engine::ends::{Entry, Gen, Halves, Looked, PackTicket, Republished, TaskEntry, TaskKind, WentBack};
use faultline_engine::job::{AttemptId, PackId};
use serde::{Deserialize, Serialize};

use super::error::Unreadable;
use super::wire::{Blob, read, write};

const VERSION: u8 = 1;
/// The largest body.
pub const MAX_BYTES: usize = 256 << 10;
/// What an entry takes at most beside its detail: the head of its pack, its own, and what the lists around it grow by.
const HEAD_BYTES: usize = 160;
/// The version, and the list of all entries.
const ENVELOPE_BYTES: usize = 6;

/// One stretch of a body. The names of the variants travel, and are short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Item {
    /// Entries of one pack.
    #[serde(rename = "p")]
    Pack(Head, Vec<Task>),
    #[serde(rename = "t")]
    Term(u64),
    /// Epoch, generation, the sequence from which, its time, the sequence to which.
    #[serde(rename = "b")]
    WentBack(u64, u64, u64, u64, u64),
    /// Epoch, ticket, pack, whether it is stored.
    #[serde(rename = "r")]
    Republished(u64, Ticket, Halves, bool),
    /// Epoch, time.
    #[serde(rename = "l")]
    Looked(u64, u64),
}

/// Generation, sequence, and time of a message of JOBS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ticket(u64, u64, u64);

/// Ticket, pack, count, epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head(Ticket, Halves, u16, u64);

/// Kind, index, attempt, first ticket of a void entry, detail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Task(u8, u16, Option<Halves>, Option<Ticket>, Blob);

/// Bodies that carry a list of entries together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// All entries that fit into a body, once each and in their order.
    pub bodies: Vec<Bytes>,
    /// Those of which the detail alone is too large.
    pub too_large: Vec<Entry>,
}

/// Encodes entries as one body, whatever its size; see [`messages`].
pub fn encode(entries: &[Entry]) -> Bytes {
    let mut items: Vec<Item> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Task(task) => push(&mut items, task),
            Entry::Term { epoch } => items.push(Item::Term(*epoch)),
            Entry::WentBack(WentBack { epoch, r#gen, from_seq, from_ts, to_seq }) => {
                items.push(Item::WentBack(*epoch, r#gen.0, *from_seq, *from_ts, *to_seq));
            }
            Entry::Republished(Republished { epoch, ticket, pack, is_stored }) => {
                items.push(Item::Republished(*epoch, (*ticket).into(), pack.to_u128().into(), *is_stored));
            }
            Entry::Looked(Looked { epoch, ts }) => items.push(Item::Looked(*epoch, *ts)),
        }
    }
    Bytes::from(write(VERSION, &items))
}

fn push(items: &mut Vec<Item>, entry: &TaskEntry) {
    let head = Head(entry.ticket.of_pack().into(), entry.pack.to_u128().into(), entry.count, entry.epoch);
    let (kind, first) = match entry.kind {
        TaskKind::Committed => (0, None),
        TaskKind::Failed { is_final: false } => (1, None),
        TaskKind::Failed { is_final: true } => (2, None),
        TaskKind::Dead => (3, None),
        TaskKind::Cancelled => (4, None),
        TaskKind::Void { first } => (5, Some(first.into())),
    };
    let attempt = entry.attempt.map(|attempt| attempt.to_u128().into());
    let task = Task(kind, entry.ticket.idx, attempt, first, Blob(entry.detail.clone()));
    match items.last_mut() {
        Some(Item::Pack(same, tasks)) if *same == head => tasks.push(task),
        _ => items.push(Item::Pack(head, vec![task])),
    }
}

/// Cuts entries into bodies of at most `most` bytes, and of [`MAX_BYTES`].
pub fn messages(entries: Vec<Entry>, most: usize) -> Messages {
    let most = most.min(MAX_BYTES);
    let (mut bodies, mut too_large, mut batch, mut used) = (Vec::new(), Vec::new(), Vec::new(), ENVELOPE_BYTES);
    for entry in entries {
        let bytes = HEAD_BYTES + if let Entry::Task(task) = &entry { task.detail.len() } else { 0 };
        if ENVELOPE_BYTES + bytes > most {
            too_large.push(entry);
            continue;
        }
        if used + bytes > most {
            bodies.push(encode(&std::mem::take(&mut batch)));
            used = ENVELOPE_BYTES;
        }
        used += bytes;
        batch.push(entry);
    }
    if !batch.is_empty() {
        bodies.push(encode(&batch));
    }
    Messages { bodies, too_large }
}

/// Decodes a body. One entry that cannot be read makes all of it unreadable, so that no reader takes a part of it.
pub fn decode(body: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    if body.len() > MAX_BYTES {
        return Err(Unreadable::TooLarge { bytes: body.len(), most: MAX_BYTES });
    }
    let mut entries = Vec::new();
    for item in read::<Vec<Item>>(VERSION, body)? {
        match item {
            Item::Pack(head, tasks) => {
                for task in tasks {
                    entries.push(Entry::Task(task_entry(head, task)?));
                }
            }
            Item::Term(epoch) => entries.push(Entry::Term { epoch }),
            Item::WentBack(epoch, r#gen, from_seq, from_ts, to_seq) => {
                entries.push(Entry::WentBack(WentBack { epoch, r#gen: Gen(r#gen), from_seq, from_ts, to_seq }));
            }
            Item::Republished(epoch, ticket, pack, is_stored) => {
                let pack = PackId::from_u128(pack.into());
                entries.push(Entry::Republished(Republished { epoch, ticket: ticket.into(), pack, is_stored }));
            }
            Item::Looked(epoch, ts) => entries.push(Entry::Looked(Looked { epoch, ts })),
        }
    }
    Ok(entries)
}

fn task_entry(Head(ticket, pack, count, epoch): Head, Task(kind, idx, attempt, first, detail): Task) -> Result<TaskEntry, Unreadable> {
    let kind = match (kind, first) {
        (0, None) => TaskKind::Committed,
        (1, None) => TaskKind::Failed { is_final: false },
        (2, None) => TaskKind::Failed { is_final: true },
        (3, None) => TaskKind::Dead,
        (4, None) => TaskKind::Cancelled,
        (5, Some(first)) => TaskKind::Void { first: first.into() },
        _ => return Err(Unreadable::Body { reason: format!("unknown kind {kind} of an entry") }),
    };
    Ok(TaskEntry {
        ticket: PackTicket::from(ticket).task(idx),
        pack: PackId::from_u128(pack.into()),
        count,
        kind,
        attempt: attempt.map(|attempt| AttemptId::from_u128(attempt.into())),
        epoch,
        detail: detail.0,
    })
}

impl From<PackTicket> for Ticket {
    fn from(ticket: PackTicket) -> Self {
        Self(ticket.r#gen.0, ticket.seq, ticket.ts)
    }
}

impl From<Ticket> for PackTicket {
    fn from(Ticket(r#gen, seq, ts): Ticket) -> Self {
        Self { r#gen: Gen(r#gen), seq, ts }
    }
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
