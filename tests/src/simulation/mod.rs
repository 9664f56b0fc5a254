//! The whole protocol in one process under virtual time: the engine's scheduler, detector and worker's agent as they are, in shells
//! that do what the live ones do, over a network and a JetStream that misbehave as the real ones may. One seed is one history: the
//! same cluster, jobs, faults and order of events every time.
//!
//! [`run`] plays a seed and holds what happened against a shadow model. What it cannot show: the shells of the services themselves,
//! tokio, NATS and the kernel; the chaos suite is for those.

mod campaign;
mod detector;
mod leader;
mod message;
mod net;
mod scenario;
mod scheduler;
mod server;
mod shadow;
mod side;
mod stage;
mod submitter;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use campaign::{Campaign, campaign};
use message::Plain;
use net::{Net, Proc};
use stage::Stage;

/// Unix time at which every run begins.
const EPOCH_MS: u64 = 1_700_000_000_000;

fn unix(net: &Net) -> u64 {
    EPOCH_MS + net.now
}

fn ack_subject(seq: u64) -> String {
    format!("ack.{seq}")
}

fn ack_seq(ack_subject: &str) -> u64 {
    ack_subject.strip_prefix("ack.").and_then(|seq| seq.parse().ok()).unwrap_or(0)
}

/// A way to break the protocol on purpose. Each is in the simulated shells, never in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The worker takes what a deposed leader says.
    SkipFence,
    /// A result is written without naming the sequence that it replaces.
    SkipCas,
    /// The worker acknowledges when it sends its result, and does not look whether that arrived.
    TrustAck,
    /// The scheduler places what is delivered again without reading its record.
    NoReadBackOnRedelivery,
    /// A conflict is believed: nobody looks whether it was one's own commit.
    NoReadBackOfConflict,
    /// The worker goes on without any answer to its signs of progress.
    NoSelfFence,
    /// A failed job is handed back before its failure is in the history.
    NakFirst,
    /// A new leader places at once, without asking what runs already.
    PlaceAtOnce,
    /// JetStream forgets which jobs it has seen.
    NoDedupe,
}

impl Bug {
    pub const ALL: [Bug; 9] = [
        Bug::SkipFence,
        Bug::SkipCas,
        Bug::TrustAck,
        Bug::NoReadBackOnRedelivery,
        Bug::NoReadBackOfConflict,
        Bug::NoSelfFence,
        Bug::NakFirst,
        Bug::PlaceAtOnce,
        Bug::NoDedupe,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Bug::SkipFence => "skip-fence",
            Bug::SkipCas => "skip-cas",
            Bug::TrustAck => "trust-ack",
            Bug::NoReadBackOnRedelivery => "no-read-back-on-redelivery",
            Bug::NoReadBackOfConflict => "no-read-back-of-conflict",
            Bug::NoSelfFence => "no-self-fence",
            Bug::NakFirst => "nak-first",
            Bug::PlaceAtOnce => "place-at-once",
            Bug::NoDedupe => "no-dedupe",
        }
    }
}

impl std::str::FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Bug::ALL.map(Bug::as_str).join(", ");
        Bug::ALL.into_iter().find(|bug| bug.as_str() == text).ok_or_else(|| format!("bug: `{text}` is unknown: use one of {}", names()))
    }
}

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
}

impl FaultKind {
    pub const ALL: [FaultKind; 9] = [
        FaultKind::Crash,
        FaultKind::Freeze,
        FaultKind::Cut,
        FaultKind::ServerCrash,
        FaultKind::NodeCrash,
        FaultKind::HeartbeatLoss,
        FaultKind::WrongVerdict,
        FaultKind::Drain,
        FaultKind::Cancel,
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
    pub terms: u64,
    pub verdicts: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// From the last fault to the end of the last job, at worst.
    pub recovery_ms: u64,
    pub virtual_ms: u64,
    pub faults: BTreeMap<FaultKind, u64>,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
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
            (&mut self.terms, other.terms),
            (&mut self.verdicts, other.verdicts),
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

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Over every event in its order.
    pub trace_hash: u64,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    pub stats: Stats,
    /// The last of what happened, when it was asked for.
    pub last: Vec<String>,
}

/// Plays one seed. `keep`: how many of the last happenings are kept in words.
pub fn run(seed: u64, bug: Option<Bug>, keep: usize) -> Outcome {
    let mut stage = Stage::new(seed, bug, keep);
    // The engine's own checks panic: for a seed that is a broken promise as any other.
    let played = catch_unwind(AssertUnwindSafe(|| stage.play()));
    let broken = match played {
        Ok(()) => stage.net.shadow.broken().map(str::to_owned),
        Err(panic) => Some(panic_text(panic.as_ref())),
    };
    stage.finish_stats();
    Outcome { seed, trace_hash: stage.net.trace.hash, broken, stats: stage.net.stats, last: stage.net.trace.last.into() }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a check of the engine failed: {}", text.unwrap_or("no message"))
}

/// Who is who.
struct Cast {
    names: Vec<String>,
    schedulers: usize,
    workers: usize,
}

impl Cast {
    fn name(&self, proc: Proc) -> &str {
        &self.names[proc]
    }

    fn proc_of(&self, name: &str) -> Proc {
        self.names.iter().position(|known| known == name).expect("a name of this cast")
    }

    fn workers(&self) -> std::ops::Range<Proc> {
        self.schedulers..self.schedulers + self.workers
    }

    fn detector(&self) -> Proc {
        self.schedulers + self.workers
    }

    /// Who is subscribed to what this is published on.
    fn listeners(&self, plain: &Plain, net: &Net) -> Vec<Proc> {
        let detector = matches!(plain, Plain::Beat(_) | Plain::Bye { .. }).then(|| self.detector());
        (0..self.schedulers).chain(detector).filter(|proc| net.links[*proc].is_subscribed).collect()
    }
}
