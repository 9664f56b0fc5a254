//! What workers say of the packs that they run, and the question whether packs have ended. No service sends them yet.

use faultline_engine::ends::{Gen, PackTicket, Ticket};
use faultline_engine::job::{AttemptId, PackId};
use serde::{Deserialize, Serialize};

use crate::codec::message;

/// The part of a heartbeat that the next protocol adds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldTickets {
    /// The highest epoch that the worker has heard of.
    pub epoch: u64,
    /// Where the log of ends has the worker's last append: an attempt that is named no more has ended by then, or is gone.
    pub durable: u64,
    /// The attempts that it holds, each from its assignment until the log has its end.
    pub held: Vec<HeldTicket>,
}

message!(HeldTickets, "held-tickets");

/// One attempt, and the message of JOBS that brought its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldTicket {
    pub attempt: AttemptId,
    pub pack: PackId,
    pub count: u16,
    pub idx: u16,
    pub generation: Gen,
    pub seq: u64,
    /// When JOBS stored it, in nanoseconds since 1970.
    pub stored_ns: u64,
    pub running_ms: u64,
}

impl HeldTicket {
    pub fn ticket(&self) -> Ticket {
        PackTicket { r#gen: self.generation, seq: self.seq, ts: self.stored_ns }.task(self.idx)
    }
}

/// `sched.ends`, a request: answered when all of these packs have ended, or after `wait_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndsQuestion {
    pub packs: Vec<PackId>,
    pub wait_ms: u64,
}

message!(EndsQuestion, "ends-question");

/// What the leader knows of those packs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndsAnswer {
    /// In the order of the question; packs that are unknown or forgotten are left out.
    Packs(Vec<PackStanding>),
    /// The question could not be answered: in words.
    Error(String),
}

message!(EndsAnswer, "ends-answer");

/// How far a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackStanding {
    pub pack: PackId,
    pub unended: u16,
    pub committed: u16,
    pub dead: u16,
    pub cancelled: u16,
}

/// KV LEDGER `ends`: the snapshots that are kept, oldest first. Written last, so that a snapshot of which a piece is missing is in no list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSnapshots {
    pub kept: Vec<KeptSnapshot>,
}

message!(KeptSnapshots, "kept-snapshots");

/// A snapshot in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSnapshot {
    /// Random, so that two leaders never write pieces of the same snapshot.
    pub id: u64,
    pub pieces: u32,
    pub bytes: u64,
    /// The position in the log that it has.
    pub pos: u64,
}

#[cfg(test)]
mod tests {
    use super::super::golden;
    use super::*;
    use crate::codec::{self, Message};

    fn pinned<M: Message + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
        let body = golden::same(name, &codec::encode(message));
        assert_eq!(codec::decode_body::<M>(&body).as_ref(), Ok(message), "{name}");
    }

    #[test]
    fn every_message_is_read_as_it_was_written_by_every_build() {
        let pack = PackId::new(1_700_000_000_000, 7);
        let held = HeldTicket {
            attempt: AttemptId::new(1_700_000_000_100, 9),
            pack,
            count: 256,
            idx: 17,
            generation: Gen(0xa1),
            seq: 5,
            stored_ns: 1_700_000_000_000_000_001,
            running_ms: 1_500,
        };
        assert_eq!(held.ticket(), PackTicket { r#gen: Gen(0xa1), seq: 5, ts: 1_700_000_000_000_000_001 }.task(17));
        pinned("held-tickets.v1.bin", &HeldTickets { epoch: 3, durable: 1_000_000, held: vec![held] });
        pinned("kept-snapshots.v1.bin", &KeptSnapshots { kept: vec![KeptSnapshot { id: 0xfe, pieces: 3, bytes: 600_000, pos: 9 }] });
        pinned("ends-question.v1.bin", &EndsQuestion { packs: vec![pack], wait_ms: 2_000 });
        let standing = PackStanding { pack, unended: 1, committed: 253, dead: 1, cancelled: 1 };
        pinned("ends-answer.v1.bin", &EndsAnswer::Packs(vec![standing]));
        pinned("ends-answer-error.v1.bin", &EndsAnswer::Error("the leader has not read the log yet".into()));
    }
}
