//! What GPU time can go into: 22 classes, of which each GPU-instant is in exactly one, and the causes of lost work.

use std::fmt;

/// A class of GPU time. The first letter of its code is its group: A cannot be used, B is booked for attempts, C is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Broken, and the scheduler knows.
    Down,
    /// Broken with nothing booked there, and the scheduler does not know yet.
    DownUnseen,
    /// Healthy, but out of service by a verdict: a false alarm, or a retired node.
    Quarantined,
    /// Healthy, with nothing booked, on a node that is drained or leaves.
    Draining,
    /// Progress that was committed, or that lies in a durable checkpoint of a job that did not end without a commit.
    Productive,
    /// Progress that was made and never used.
    Lost,
    /// Blocked while a checkpoint is written.
    Checkpoint,
    /// From the placement until work begins or goes on: image, initialization, loading a checkpoint.
    Restore,
    /// Booked without progress, because a member of the gang is dead or hung: from the fault until the release.
    Stalled,
    /// What an attempt is slower by than it would be with all members at full speed.
    Straggling,
    /// Booked while the assignment or the report of the end is on its way.
    Handover,
    /// Booked for a gang that is not complete.
    GangWait,
    /// Progress since the last checkpoint of attempts that run when the window closes.
    Open,
    /// Kept empty for a job with a reservation.
    Reserved,
    /// A job that may start would fit, and no decision has been made yet.
    Undecided,
    /// A waiting job would fit here, but the head of the line goes first.
    BlockedByOrder,
    /// Waiting jobs would fit here, but are over their quota or limit.
    BlockedByQuota,
    /// The node lacks CPU, memory, or slots for every waiting job.
    Stranded,
    /// No waiting job accepts this model or place.
    Constrained,
    /// A waiting job would fit if all free GPUs that it accepts were in one place.
    Fragmented,
    /// Less is free in the whole cluster than the smallest waiting job asks for.
    Short,
    /// No job waits.
    NoDemand,
}

impl Class {
    pub const COUNT: usize = 22;

    pub const ALL: [Class; Self::COUNT] = [
        Self::Down,
        Self::DownUnseen,
        Self::Quarantined,
        Self::Draining,
        Self::Productive,
        Self::Lost,
        Self::Checkpoint,
        Self::Restore,
        Self::Stalled,
        Self::Straggling,
        Self::Handover,
        Self::GangWait,
        Self::Open,
        Self::Reserved,
        Self::Undecided,
        Self::BlockedByOrder,
        Self::BlockedByQuota,
        Self::Stranded,
        Self::Constrained,
        Self::Fragmented,
        Self::Short,
        Self::NoDemand,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Class::Down => "down",
            Class::DownUnseen => "down_unseen",
            Class::Quarantined => "quarantined",
            Class::Draining => "draining",
            Class::Productive => "productive",
            Class::Lost => "lost",
            Class::Checkpoint => "checkpoint",
            Class::Restore => "restore",
            Class::Stalled => "stalled",
            Class::Straggling => "straggling",
            Class::Handover => "handover",
            Class::GangWait => "gang_wait",
            Class::Open => "open",
            Class::Reserved => "reserved",
            Class::Undecided => "undecided",
            Class::BlockedByOrder => "blocked_by_order",
            Class::BlockedByQuota => "blocked_by_quota",
            Class::Stranded => "stranded",
            Class::Constrained => "constrained",
            Class::Fragmented => "fragmented",
            Class::Short => "short",
            Class::NoDemand => "no_demand",
        }
    }

    /// Its place in the tables: A1 to A4, B1 to B9, C1 to C9.
    pub fn code(self) -> String {
        let at = self.at();
        match self.group() {
            Group::Unusable => format!("A{}", at + 1),
            Group::Booked => format!("B{}", at - 3),
            Group::Free => format!("C{}", at - 12),
        }
    }

    pub fn group(self) -> Group {
        match self.at() {
            0..=3 => Group::Unusable,
            4..=12 => Group::Booked,
            _ => Group::Free,
        }
    }

    pub(crate) fn at(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The three groups of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// A: nothing can be placed there.
    Unusable,
    /// B: an attempt holds it.
    Booked,
    /// C: free.
    Free,
}

/// Why progress was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossCause {
    NodeFault,
    /// The node lived, but was cut off.
    Network,
    /// The job failed by itself.
    OwnFailure,
    Preemption,
    /// Preempted for a job that had to start again after a fault: the fault is the root cause.
    PreemptionAfterFault,
    Cancel,
    TimeLimit,
    /// Another attempt of the same job committed.
    Duplicate,
    /// The scheduler ended it in error, such as after a false alarm.
    SchedulerError,
}

impl LossCause {
    pub const COUNT: usize = 9;

    pub const ALL: [LossCause; Self::COUNT] = [
        Self::NodeFault,
        Self::Network,
        Self::OwnFailure,
        Self::Preemption,
        Self::PreemptionAfterFault,
        Self::Cancel,
        Self::TimeLimit,
        Self::Duplicate,
        Self::SchedulerError,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            LossCause::NodeFault => "node_fault",
            LossCause::Network => "network",
            LossCause::OwnFailure => "own_failure",
            LossCause::Preemption => "preemption",
            LossCause::PreemptionAfterFault => "preemption_after_fault",
            LossCause::Cancel => "cancel",
            LossCause::TimeLimit => "time_limit",
            LossCause::Duplicate => "duplicate",
            LossCause::SchedulerError => "scheduler_error",
        }
    }

    pub(crate) fn at(self) -> usize {
        self as usize
    }
}

impl fmt::Display for LossCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_positions_follow_the_order_of_the_classes() {
        let codes: Vec<String> = Class::ALL.map(Class::code).to_vec();
        assert_eq!((codes[0].as_str(), codes[3].as_str(), codes[4].as_str(), codes[12].as_str()), ("A1", "A4", "B1", "B9"));
        assert_eq!((codes[13].as_str(), codes[21].as_str()), ("C1", "C9"));
        assert!(Class::ALL.iter().enumerate().all(|(at, class)| class.at() == at));
        assert!(LossCause::ALL.iter().enumerate().all(|(at, cause)| cause.at() == at));
    }
}
