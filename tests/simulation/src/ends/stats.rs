//! What happened in a run of the next protocol, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use crate::stats::Figures;

/// What was done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndsFault {
    Kill,
    KillForGood,
    Freeze,
    Cut,
    ServerKill,
    MachineDeath,
    ServerFreeze,
    StreamMoves,
    JobsAnew,
    JobsPurged,
    JobsOlder,
    LogAnew,
    LogOlder,
    LeaseAnew,
    LedgerOlder,
    WrongVerdict,
    Cancel,
    Clock,
    NoLeaders,
    LateRepeat,
    Lie,
    Twin,
}

impl EndsFault {
    pub const ALL: [EndsFault; 22] = [
        EndsFault::Kill,
        EndsFault::KillForGood,
        EndsFault::Freeze,
        EndsFault::Cut,
        EndsFault::ServerKill,
        EndsFault::MachineDeath,
        EndsFault::ServerFreeze,
        EndsFault::StreamMoves,
        EndsFault::JobsAnew,
        EndsFault::JobsPurged,
        EndsFault::JobsOlder,
        EndsFault::LogAnew,
        EndsFault::LogOlder,
        EndsFault::LeaseAnew,
        EndsFault::LedgerOlder,
        EndsFault::WrongVerdict,
        EndsFault::Cancel,
        EndsFault::Clock,
        EndsFault::NoLeaders,
        EndsFault::LateRepeat,
        EndsFault::Lie,
        EndsFault::Twin,
    ];
}

impl fmt::Display for EndsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EndsFault::Kill => "process killed",
            EndsFault::KillForGood => "worker killed for good",
            EndsFault::Freeze => "process frozen",
            EndsFault::Cut => "link cut",
            EndsFault::ServerKill => "NATS killed",
            EndsFault::MachineDeath => "machine of NATS died",
            EndsFault::ServerFreeze => "NATS frozen",
            EndsFault::StreamMoves => "stream's leader changed",
            EndsFault::JobsAnew => "JOBS made anew",
            EndsFault::JobsPurged => "JOBS purged",
            EndsFault::JobsOlder => "older JOBS put back",
            EndsFault::LogAnew => "ENDS made anew",
            EndsFault::LogOlder => "older ENDS put back",
            EndsFault::LeaseAnew => "LEASE made anew",
            EndsFault::LedgerOlder => "older LEDGER put back",
            EndsFault::WrongVerdict => "wrong verdict",
            EndsFault::Cancel => "job cancelled",
            EndsFault::Clock => "wall clock set",
            EndsFault::LateRepeat => "confirmation lost",
            EndsFault::Lie => "worker lied",
            EndsFault::Twin => "pack published twice",
            EndsFault::NoLeaders => "all schedulers gone for minutes",
        })
    }
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default)]
pub struct EndsStats {
    pub events: u64,
    pub messages: u64,
    pub lost: u64,
    pub doubled: u64,
    pub packs: u64,
    pub jobs: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub void: u64,
    /// Failures of jobs that were tried again.
    pub failed: u64,
    /// Ends that came after the first one.
    pub late: u64,
    /// Decisions of leaders after their successors' terms had begun.
    pub fenced: u64,
    pub attempts: u64,
    /// Attempts that began while another of the same job still worked.
    pub overlaps: u64,
    pub terms: u64,
    /// Packs that a leader published again, since their sequence had been another one's.
    pub republished: u64,
    pub deliveries: u64,
    pub snapshots: u64,
    /// Terms that began with the remains of the log, since no snapshot fitted.
    pub from_remains: u64,
    pub trims: u64,
    /// Appends that found no room.
    pub no_room: u64,
    /// Jobs that are lost, as the design says that they may be.
    pub excused: u64,
    /// Packs that audits named as lost.
    pub named: u64,
    pub audits: u64,
    /// From the last fault to the end of the last job: the sum, and at worst.
    pub recovery_sum_ms: u64,
    pub recovery_ms: u64,
    pub virtual_ms: u64,
    pub faults: BTreeMap<EndsFault, u64>,
}

impl Figures for EndsStats {
    fn add(&mut self, other: &EndsStats) {
        let sums = [
            (&mut self.events, other.events),
            (&mut self.messages, other.messages),
            (&mut self.lost, other.lost),
            (&mut self.doubled, other.doubled),
            (&mut self.packs, other.packs),
            (&mut self.jobs, other.jobs),
            (&mut self.committed, other.committed),
            (&mut self.dead, other.dead),
            (&mut self.cancelled, other.cancelled),
            (&mut self.void, other.void),
            (&mut self.failed, other.failed),
            (&mut self.late, other.late),
            (&mut self.fenced, other.fenced),
            (&mut self.attempts, other.attempts),
            (&mut self.overlaps, other.overlaps),
            (&mut self.terms, other.terms),
            (&mut self.republished, other.republished),
            (&mut self.deliveries, other.deliveries),
            (&mut self.snapshots, other.snapshots),
            (&mut self.from_remains, other.from_remains),
            (&mut self.trims, other.trims),
            (&mut self.no_room, other.no_room),
            (&mut self.excused, other.excused),
            (&mut self.named, other.named),
            (&mut self.audits, other.audits),
            (&mut self.recovery_sum_ms, other.recovery_sum_ms),
            (&mut self.virtual_ms, other.virtual_ms),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.recovery_ms = self.recovery_ms.max(other.recovery_ms);
        for (kind, count) in &other.faults {
            *self.faults.entry(*kind).or_default() += count;
        }
    }
}
