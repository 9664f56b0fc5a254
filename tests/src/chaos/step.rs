//! What can be done to the cluster: one step of a plan.

use std::fmt;

/// Something that can be killed, started, frozen and thawed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Scheduler(usize),
    Worker(usize),
    Detector,
    Generator,
    Dashboard,
    Submitter(usize),
    Nats,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Scheduler(index) => write!(f, "scheduler-{index}"),
            Service::Worker(index) => write!(f, "worker-{index:02}"),
            Service::Detector => f.write_str("fault-detector"),
            Service::Generator => f.write_str("generator"),
            Service::Dashboard => f.write_str("dashboard"),
            Service::Submitter(index) => write!(f, "submitter-{index}"),
            Service::Nats => f.write_str("nats"),
        }
    }
}

impl Service {
    /// All of a kind are counted together.
    pub fn kind(self) -> &'static str {
        match self {
            Service::Scheduler(_) => "scheduler",
            Service::Worker(_) => "worker",
            Service::Detector => "fault-detector",
            Service::Generator => "generator",
            Service::Dashboard => "dashboard",
            Service::Submitter(_) => "submitter",
            Service::Nats => "nats",
        }
    }
}

/// What can be wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFault {
    /// Connections are reset, and so are new ones.
    Cut,
    /// Connections stay, nothing passes.
    Stall,
    /// 20 to 220 ms more each way.
    Delay,
    /// A tenth of the chunks come late, by a retransmission.
    Loss,
}

impl LinkFault {
    pub(super) const ALL: [LinkFault; 4] = [LinkFault::Cut, LinkFault::Stall, LinkFault::Delay, LinkFault::Loss];
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Kill(Service),
    Start(Service),
    Freeze(Service),
    Thaw(Service),
    /// SIGTERM: it finishes what it runs.
    Stop(Service),
    /// Something is wrong with the network between a process and NATS.
    Link(Service, LinkFault),
    HealLink(Service),
    /// The wall clock of a process is from now on so far ahead of the truth, or behind it.
    SetClock(Service, i64),
    /// `faultline fault gpu-node-NN KIND --for Ns`.
    Fault {
        node: usize,
        kind: &'static str,
        for_s: u64,
    },
    /// A bucket is deleted and set up again.
    Anew(&'static str),
    /// The disk on which NATS keeps its files is full, and is so no more.
    FillDisk,
    FreeDisk,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at_ms: u64,
    pub op: Op,
}
