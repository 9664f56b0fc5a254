//! What one job's attempts did with what they held, until it is known what it was worth.

/// What an attempt does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It holds nothing.
    Idle,
    Handover,
    GangWait,
    Restore,
    /// Makes progress, at this speed in thousandths of the full one.
    Work {
        speed_milli: u16,
    },
    Checkpoint,
    Stalled,
}

impl Phase {
    /// Progress at full speed.
    pub const FULL: Phase = Phase::Work { speed_milli: 1000 };
}

/// A stretch of work that is not judged yet. What is neither useful nor checkpoints is straggling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) milli: u64,
    pub(super) useful_ms: u64,
    pub(super) checkpoint_ms: u64,
}

impl Span {
    pub(super) fn straggling_ms(&self) -> u64 {
        self.to_ms - self.from_ms - self.useful_ms - self.checkpoint_ms
    }
}

/// Milliseconds of a job by what they went into, whatever it held. Work that is not judged yet is in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    pub productive_ms: u64,
    pub lost_ms: u64,
    pub checkpoint_ms: u64,
    pub restore_ms: u64,
    pub stalled_ms: u64,
    pub straggling_ms: u64,
    pub handover_ms: u64,
    pub gang_wait_ms: u64,
    pub open_ms: u64,
}

/// The account of one job, over all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub(super) milli: u64,
    pub(super) phase: Phase,
    pub(super) since_ms: u64,
    /// Work since the last durable checkpoint.
    pub(super) pending: Vec<Span>,
    /// Work that lies in a durable checkpoint.
    pub(super) kept: Vec<Span>,
    pub(super) spent: Spent,
}

impl Default for Account {
    fn default() -> Self {
        Self { milli: 0, phase: Phase::Idle, since_ms: 0, pending: Vec::new(), kept: Vec::new(), spent: Spent::default() }
    }
}

impl Account {
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the phase began.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// A checkpoint is durable: it has all that was done before the present phase began.
    pub fn durable(&mut self) {
        self.kept.append(&mut self.pending);
    }

    pub(super) fn worked(&mut self, span: Span) {
        if span.to_ms == span.from_ms {
            return;
        }
        match self.pending.last_mut() {
            Some(last) if last.to_ms == span.from_ms && last.milli == span.milli && last.checkpoint_ms == 0 => {
                last.to_ms = span.to_ms;
                last.useful_ms += span.useful_ms;
            }
            _ => self.pending.push(span),
        }
    }
}
