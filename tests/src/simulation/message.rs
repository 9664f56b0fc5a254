//! What goes over the simulated network, and what the parties remember of their requests and timers.

use std::rc::Rc;
use std::sync::Arc;

use faultline_engine::detector::NodeVerdict;
use faultline_engine::job::{Assignment, AttemptId, EndedAttempt, JobId, JobSpec, Priority, TerminalRecord};
use faultline_engine::ledger::{LedgerRecord, LedgerSnapshot};
use faultline_engine::node::NodeSpec;
use faultline_engine::scheduler::{Past, PendingMessage, RunningSign, SyncedNode};

use super::net::Proc;

#[derive(Debug, Clone)]
pub(super) struct Beat {
    pub(super) node: String,
    pub(super) worker: String,
    pub(super) incarnation: u64,
    pub(super) running: Vec<RunningSign>,
    pub(super) leaving: bool,
}

/// What plain subjects carry.
#[derive(Debug, Clone)]
pub(super) enum Plain {
    Beat(Rc<Beat>),
    Bye { node: String, incarnation: u64 },
    Ended(Rc<Vec<EndedAttempt>>),
    Synced { epoch: u64, nodes: Rc<Vec<SyncedNode>> },
    Verdict(Rc<NodeVerdict>),
    Cancel { job: JobId },
}

/// What a process says to the server.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Publish(Plain),
    Assign {
        worker: Proc,
        epoch: u64,
        assignments: Rc<Vec<Assignment>>,
    },
    Kill {
        worker: Proc,
        epoch: u64,
        attempts: Rc<Vec<AttemptId>>,
    },
    /// Of one worker, or of all.
    AskSync {
        worker: Option<Proc>,
        epoch: u64,
    },
    ListPending,
    Ping {
        worker: Proc,
    },
    /// `nodes`: those that are up.
    Pong {
        asker: Proc,
        life: u32,
        request: u64,
        nodes: Vec<String>,
    },
    Ack {
        seq: u64,
    },
    Nak {
        seq: u64,
        delay_ms: u64,
    },
    InProgress {
        seq: u64,
    },
    /// `expected`: the sequence that the record of the job must have; none: whatever it has.
    Commit {
        record: Arc<TerminalRecord>,
        expected: Option<u64>,
    },
    Open {
        job: JobId,
    },
    Enqueue {
        spec: Rc<JobSpec>,
        open_seq: u64,
    },
    GetRecord {
        job: JobId,
    },
    GetPast {
        job: JobId,
    },
    WriteEvent {
        job: JobId,
        past: Rc<Past>,
    },
    WriteLetter,
    Purge {
        job: JobId,
    },
    IsQueued {
        job: JobId,
    },
    Pull {
        priority: Priority,
        want: usize,
        expires_ms: u64,
    },
    CreateLease,
    RenewLease {
        revision: u64,
    },
    GetLease,
    PutNode(Rc<NodeSpec>),
    RemoveNode {
        node: String,
    },
    GetNode {
        node: String,
    },
    NodesSince {
        revision: u64,
    },
    PutVerdict(Rc<NodeVerdict>),
    RemoveVerdict {
        node: String,
    },
    GetVerdicts,
    ResultsSince {
        seq: u64,
    },
    GetLedger,
    SaveLedger {
        snapshot: LedgerSnapshot,
        revision: u64,
    },
    Probe,
}

/// What RESULTS holds of a job.
#[derive(Debug, Clone)]
pub(super) enum Record {
    Open,
    Ended(Arc<TerminalRecord>),
}

/// What the server answers.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    Ok(u64),
    /// The sequence that was expected is not the one that is there.
    Conflict,
    Record(Option<(u64, Record)>),
    Past(Rc<Past>),
    Flag(bool),
    /// The holder, with the revision of the key.
    Lease(Option<(Proc, u64)>),
    Node(Option<u64>),
    /// Registrations and removals, with the newest revision.
    Nodes(u64, Rc<Vec<(String, Option<Rc<NodeSpec>>)>>),
    Verdicts(Rc<Vec<Rc<NodeVerdict>>>),
    Results(Rc<Vec<LedgerRecord>>),
    Ledger(LedgerSnapshot, u64),
    Pending(Rc<Vec<PendingMessage>>),
    Pong(Vec<String>),
    NobodyListens,
}

#[derive(Debug, Clone)]
pub(super) enum Msg {
    Plain(Plain),
    Assign {
        epoch: u64,
        assignments: Rc<Vec<Assignment>>,
    },
    Kill {
        epoch: u64,
        attempts: Rc<Vec<AttemptId>>,
    },
    AskSync {
        epoch: u64,
    },
    Ping {
        asker: Proc,
        life: u32,
        request: u64,
    },
    Delivery {
        seq: u64,
        spec: Rc<JobSpec>,
        open_seq: u64,
        count: u64,
        priority: Priority,
    },
    Reply {
        request: u64,
        reply: Reply,
    },
    /// The server saw a connection come or go.
    Hint {
        worker: Proc,
        is_up: bool,
    },
    /// One's own connection is back.
    Connected,
}

/// What an answer is for.
#[derive(Debug, Clone)]
pub(super) enum Tag {
    Progress { attempt: AttemptId },
    Commit { attempt: AttemptId },
    CommitRead { attempt: AttemptId },
    FailureWritten { attempt: AttemptId },
    Incarnation { node: usize },
    Registered { node: String, incarnation: u64 },
    Unregistered,
    Acquire { term: u64 },
    Renewed { term: u64, asked_at: u64 },
    LeaseRead { term: u64 },
    Nodes,
    Verdicts,
    Results,
    LedgerRead,
    LedgerSaved,
    Side { task: u64 },
    Pending { term: u64 },
    Pulled,
    PingOutcome { worker: Proc },
    Probed,
    VerdictWritten { node: String },
    Opened { job: JobId },
    OpenRead { job: JobId },
    Enqueued { job: JobId },
}

#[derive(Debug, Clone)]
pub(super) enum Timer {
    Wake { attempt: AttemptId },
    Executed { attempt: AttemptId },
    Retry(Tag),
    Flush,
    Beat,
    Left,
    Stand,
    Tick { term: u64 },
    Second { term: u64 },
    Pull { term: u64, priority: Priority },
    Side { task: u64 },
    Renew { term: u64 },
    Watch,
    Repeat,
    Probe,
    Submit { job: JobId },
}

impl Msg {
    /// Whether it travels as a plain publish.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Msg::Plain(_) | Msg::Assign { .. } | Msg::Kill { .. } | Msg::AskSync { .. })
    }

    pub(super) fn fingerprint(&self) -> u64 {
        match self {
            Msg::Plain(plain) => plain.fingerprint(),
            Msg::Assign { epoch, assignments } => {
                assignments.iter().fold(20 + epoch, |hash, assignment| hash.rotate_left(7) ^ assignment.attempt.to_u128() as u64)
            }
            Msg::Kill { attempts, .. } => attempts.iter().fold(21, |hash, attempt| hash.rotate_left(7) ^ attempt.to_u128() as u64),
            Msg::AskSync { epoch } => 22 + (epoch << 8),
            Msg::Ping { request, .. } => 23 + (request << 8),
            Msg::Delivery { seq, count, .. } => 24 + (seq << 8) + (count << 32),
            Msg::Reply { request, .. } => 25 + (request << 8),
            Msg::Hint { worker, is_up } => 26 + ((*worker as u64) << 8) + (u64::from(*is_up) << 20),
            Msg::Connected => 27,
        }
    }
}

impl Plain {
    fn fingerprint(&self) -> u64 {
        match self {
            Plain::Beat(beat) => 1 + (beat.incarnation << 8) + ((beat.running.len() as u64) << 16),
            Plain::Bye { incarnation, .. } => 2 + (incarnation << 8),
            Plain::Ended(ended) => ended.iter().fold(3, |hash, end| hash.rotate_left(7) ^ end.attempt.to_u128() as u64),
            Plain::Synced { epoch, .. } => 4 + (epoch << 8),
            Plain::Verdict(verdict) => 5 + ((verdict.health as u64) << 8) + (verdict.incarnation << 16),
            Plain::Cancel { job } => 6 ^ job.to_u128() as u64,
        }
    }
}

impl Op {
    /// Whether nobody waits for it to arrive, and no stream takes it.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Op::Publish(_) | Op::Assign { .. } | Op::Kill { .. } | Op::AskSync { .. })
    }

    pub(super) fn fingerprint(&self) -> u64 {
        match self {
            Op::Publish(plain) => plain.fingerprint(),
            Op::Ack { seq } => 40 + (seq << 8),
            Op::Nak { seq, delay_ms } => 41 + (seq << 8) + (delay_ms << 32),
            Op::InProgress { seq } => 42 + (seq << 8),
            Op::Commit { record, .. } => 43 ^ record.job.to_u128() as u64,
            Op::Enqueue { spec, .. } => 44 ^ spec.id.to_u128() as u64,
            Op::Pull { priority, want, .. } => 45 + ((*priority as u64) << 8) + ((*want as u64) << 16),
            _ => 46,
        }
    }
}
