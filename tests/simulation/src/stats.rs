//! What happened in a run, in numbers.

use std::collections::BTreeMap;
use std::fmt;

/// What was done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    Crash,
    Freeze,
    Cut,
    ServerCrash,
    NodeCrash,
    HeartbeatLoss,
    WrongVerdict,
    Drain,
    Cancel,
    ClockJump,
    LeaseAnew,
    NodesAnew,
}

impl FaultKind {
    pub const ALL: [FaultKind; 12] = [
        FaultKind::Crash,
        FaultKind::Freeze,
        FaultKind::Cut,
        FaultKind::ServerCrash,
        FaultKind::NodeCrash,
        FaultKind::HeartbeatLoss,
        FaultKind::WrongVerdict,
        FaultKind::Drain,
        FaultKind::Cancel,
        FaultKind::ClockJump,
        FaultKind::LeaseAnew,
        FaultKind::NodesAnew,
    ];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FaultKind::Crash => "process killed",
            FaultKind::Freeze => "process frozen",
            FaultKind::Cut => "link cut",
            FaultKind::ServerCrash => "NATS killed",
            FaultKind::NodeCrash => "node crashed",
            FaultKind::HeartbeatLoss => "heartbeats lost",
            FaultKind::WrongVerdict => "wrong verdict",
            FaultKind::Drain => "worker drained",
            FaultKind::Cancel => "job cancelled",
            FaultKind::ClockJump => "wall clock set",
            FaultKind::LeaseAnew => "LEASE made anew",
            FaultKind::NodesAnew => "NODES made anew",
        })
    }
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    pub events: u64,
    pub messages: u64,
    pub lost: u64,
    pub doubled: u64,
    pub jobs: u64,
    pub deliveries: u64,
    pub attempts: u64,
    /// Attempts that began while another of the same job still worked.
    pub overlaps: u64,
    /// Finished for nothing: the job had already ended.
    pub superseded: u64,
    pub requeues: u64,
    /// Commits that the expected sequence refused.
    pub conflicts: u64,
    /// Assignments of deposed leaders that were refused.
    pub fenced: u64,
    /// Epochs that were raised because workers had heard of a higher one.
    pub raised: u64,
    pub terms: u64,
    pub verdicts: u64,
    /// Requests that reached the policy program.
    pub asked: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// From the last fault to the end of the last job, at worst.
    pub recovery_ms: u64,
    pub virtual_ms: u64,
    pub faults: BTreeMap<FaultKind, u64>,
}

/// Figures of several seeds together.
pub trait Figures: Default + Send {
    fn add(&mut self, other: &Self);
}

impl Figures for Stats {
    fn add(&mut self, other: &Stats) {
        let sums = [
            (&mut self.events, other.events),
            (&mut self.messages, other.messages),
            (&mut self.lost, other.lost),
            (&mut self.doubled, other.doubled),
            (&mut self.jobs, other.jobs),
            (&mut self.deliveries, other.deliveries),
            (&mut self.attempts, other.attempts),
            (&mut self.overlaps, other.overlaps),
            (&mut self.superseded, other.superseded),
            (&mut self.requeues, other.requeues),
            (&mut self.conflicts, other.conflicts),
            (&mut self.fenced, other.fenced),
            (&mut self.raised, other.raised),
            (&mut self.terms, other.terms),
            (&mut self.verdicts, other.verdicts),
            (&mut self.asked, other.asked),
            (&mut self.committed, other.committed),
            (&mut self.dead, other.dead),
            (&mut self.cancelled, other.cancelled),
            (&mut self.abandoned, other.abandoned),
            (&mut self.virtual_ms, other.virtual_ms),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.recovery_ms = self.recovery_ms.max(other.recovery_ms);
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }
}
