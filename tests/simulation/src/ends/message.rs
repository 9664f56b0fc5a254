//! What processes and the server say to each other.

use std::collections::BTreeSet;
use std::rc::Rc;

use faultline_engine::ends::{Entry, Gen, PackTicket, Seen, Snapshot, Ticket};
use faultline_engine::job::{AttemptId, JobId, PackId};
use std::collections::BTreeMap;

use super::proc::Proc;

/// What becomes of a job when it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    pub(crate) work_ms: u64,
    /// It fails until it has failed so often.
    pub(crate) fails: u32,
    /// Its failure is one that no retry helps.
    pub(crate) is_hopeless: bool,
    pub(crate) max_retries: u32,
    pub(crate) timeout_ms: u64,
}

/// Jobs that were submitted together.
#[derive(Debug)]
pub(crate) struct Pack {
    pub(crate) id: PackId,
    pub(crate) priority: usize,
    pub(crate) jobs: Vec<Script>,
    /// Its body cannot be read.
    pub(crate) is_garbage: bool,
    /// Each leader that looks into it dies.
    pub(crate) is_poison: bool,
}

impl Pack {
    pub(crate) fn count(&self) -> u16 {
        self.jobs.len() as u16
    }

    /// No pack has none, or more than 256.
    pub(crate) fn is_readable(&self) -> bool {
        !self.is_garbage && (1..=256).contains(&self.jobs.len())
    }

    /// How many ends it comes to.
    pub(crate) fn tasks(&self) -> u16 {
        if self.is_readable() { self.count() } else { 1 }
    }
}

/// By which the server knows a message that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MsgId {
    pub(crate) pack: PackId,
    /// A leader published it again, for the message that came with this ticket.
    pub(crate) again: Option<PackTicket>,
}

/// A message of JOBS.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) ticket: PackTicket,
    pub(crate) id: MsgId,
    pub(crate) stored_ms: u64,
    pub(crate) pack: Rc<Pack>,
}

impl Queued {
    pub(crate) fn consumer(&self) -> ConsumerName {
        ConsumerName { r#gen: self.ticket.r#gen, priority: self.pack.priority }
    }
}

/// A message of ENDS.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) pos: u64,
    pub(crate) ts: u64,
    pub(crate) stored_ms: u64,
    pub(crate) is_leaders: bool,
    pub(crate) entries: Rc<[Entry]>,
    pub(crate) bytes: u64,
}

/// A snapshot as LEDGER has it.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) revision: u64,
    pub(crate) snapshot: Rc<Snapshot>,
}

/// A consumer of JOBS is named after the generation, so that an acknowledgement for a stream that is gone finds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConsumerName {
    pub(crate) r#gen: Gen,
    pub(crate) priority: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AckWord {
    Done,
    InProgress,
    /// Counts only with a consumer sequence above the ack floor and up to the last delivered one.
    Again {
        consumer_seq: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    Submit {
        pack: Rc<Pack>,
        id: MsgId,
    },
    Pull {
        consumer: ConsumerName,
        expires_ms: u64,
    },
    Ack {
        consumer: ConsumerName,
        seq: u64,
        word: AckWord,
    },
    JobsInfo,
    JobAt {
        seq: u64,
    },
    /// All messages that bring this pack.
    JobsByPack {
        pack: PackId,
    },
    Append {
        entries: Rc<[Entry]>,
        is_leaders: bool,
    },
    LogInfo,
    /// From the stream's leader.
    LogAt {
        pos: u64,
    },
    /// From any replica, which may lag.
    ReadLog {
        from: u64,
    },
    Trim {
        before: u64,
    },
    Acquire,
    Renew {
        revision: u64,
    },
    LoadLedger {
        is_direct: bool,
    },
    SaveLedger {
        over: u64,
        snapshot: Rc<Snapshot>,
    },
    /// How often leaders have tried this pack alone.
    LoadTries(PackTicket),
    SaveTries(PackTicket, u32),
    Letter {
        ticket: Ticket,
        job: JobId,
    },
    Ping,
    Tell(Push),
}

/// JOBS as its leader shows it.
#[derive(Debug, Clone)]
pub(crate) struct JobsInfo {
    /// When the server said so.
    pub(crate) ts: u64,
    pub(crate) r#gen: Gen,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) deleted: BTreeSet<u64>,
    pub(crate) present: Vec<Rc<Queued>>,
    /// By priority: the last stream sequence and consumer sequence that were delivered.
    pub(crate) delivered: [(u64, u64); 2],
}

#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) message: Rc<Queued>,
    /// How often the server has delivered it.
    pub(crate) deliveries: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Done,
    Refused,
    Stored { seq: u64 },
    Jobs(Box<JobsInfo>),
    Job(Option<Rc<Queued>>),
    Copies(Vec<Rc<Queued>>),
    Deliveries(Vec<Delivered>),
    Log(LogInfo),
    LogAt(Option<Logged>),
    LogPart(Vec<Logged>),
    Lease { revision: u64 },
    Ledger(Vec<Saved>),
    Tries(u32),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LogInfo {
    pub(crate) first_pos: u64,
    pub(crate) last_pos: u64,
    pub(crate) bytes: u64,
    pub(crate) limit: u64,
}

/// A task that a worker is to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assignment {
    pub(crate) attempt: AttemptId,
    pub(crate) ticket: Ticket,
    pub(crate) pack: PackId,
    pub(crate) count: u16,
    pub(crate) failures: u32,
    pub(crate) script: Script,
}

/// An attempt that a worker names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named {
    pub(crate) attempt: AttemptId,
    pub(crate) ticket: Ticket,
    pub(crate) running_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    pub(crate) worker: Proc,
    pub(crate) incarnation: u64,
    pub(crate) slots: usize,
    /// The highest that it has heard of.
    pub(crate) epoch: u64,
    /// Where the log has its last append.
    pub(crate) durable: u64,
    pub(crate) named: Vec<Named>,
}

/// What goes from process to process.
#[derive(Debug, Clone)]
pub(crate) enum Push {
    Heartbeat(Rc<Heartbeat>),
    /// A worker's word that these have ended. A leader must not act on it.
    Ended(Rc<[Ticket]>),
    Assign {
        worker: Proc,
        epoch: u64,
        tasks: Rc<[Assignment]>,
    },
    Kill {
        worker: Proc,
        epoch: u64,
        attempts: Rc<[AttemptId]>,
    },
    Sync {
        epoch: u64,
    },
    Verdict {
        worker: Proc,
    },
    Cancel {
        job: JobId,
    },
}

/// What leaders have seen of JOBS.
pub(crate) type SeenJobs = BTreeMap<Gen, Seen>;

/// What a worker says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A job of a pack that there is not has failed, under the ticket of another one.
    FailedInvented,
    /// The same, and it has ended: that closes the ticket.
    EndedInvented,
    /// One of its own pack has failed, which is said to have more jobs.
    OwnCount,
    /// One of another pack has failed, under the ticket of this one.
    OtherPack,
    /// The same, and that pack is said to have more jobs.
    OtherPackAndCount,
    /// It has heard of an epoch that no leader can have.
    Epoch,
}

impl Lie {
    pub(crate) const ALL: [Lie; 6] =
        [Lie::FailedInvented, Lie::EndedInvented, Lie::OwnCount, Lie::OtherPack, Lie::OtherPackAndCount, Lie::Epoch];
}

/// The delay before the next attempt of a job that has failed so often.
pub(crate) fn retry_delay_ms(failures: u32) -> u64 {
    400 * u64::from(failures.min(4))
}
