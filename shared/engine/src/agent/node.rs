//! One hosted node: whether it is up, and what runs on which of its GPUs.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::{Assignment, AttemptId, GPU_MILLI, RunningAttempt};
use crate::node::NodeSpec;
use crate::scheduler::{SyncPart, SyncedNode};

/// Why an assignment is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The node is down: it says nothing, as a dead machine would.
    Down,
    /// The same attempt runs already.
    Duplicate,
    /// It was meant for a former life of the node.
    OtherIncarnation,
    Leaving,
    /// Its GPUs are taken, or not there.
    NoRoom,
    /// One of its GPUs must not be used until it has been reset.
    OutOfService,
    UnknownKind,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Down => "the node is down",
            Refusal::Duplicate => "it runs already",
            Refusal::OtherIncarnation => "it was meant for another incarnation",
            Refusal::Leaving => "the worker is stopping",
            Refusal::NoRoom => "its GPUs are taken",
            Refusal::OutOfService => "a GPU is out of service",
            Refusal::UnknownKind => "this worker has no executor for its kind",
        }
    }
}

/// An attempt that runs here.
#[derive(Debug, Clone, PartialEq)]
pub struct Hosted {
    pub assignment: Arc<Assignment>,
    /// By the worker's own time.
    pub since_ms: u64,
}

#[derive(Debug)]
pub struct AgentNode {
    spec: NodeSpec,
    running: BTreeMap<AttemptId, Hosted>,
    booked_milli: Vec<u32>,
    out_of_service: Vec<bool>,
    is_down: bool,
    is_cut_off: bool,
    is_mute: bool,
    is_leaving: bool,
    heartbeat_seq: u64,
}

impl AgentNode {
    pub fn new(spec: NodeSpec) -> Self {
        Self {
            running: BTreeMap::new(),
            booked_milli: vec![0; spec.gpus.len()],
            out_of_service: vec![false; spec.gpus.len()],
            is_down: false,
            is_cut_off: false,
            is_mute: false,
            is_leaving: false,
            heartbeat_seq: 0,
            spec,
        }
    }

    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    pub fn running(&self) -> &BTreeMap<AttemptId, Hosted> {
        &self.running
    }

    pub fn is_down(&self) -> bool {
        self.is_down
    }

    pub fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    /// Whether the node answers when it is asked. One whose heartbeats are lost does: that is how it is told from one that is down.
    pub fn answers(&self) -> bool {
        !self.is_down && !self.is_cut_off
    }

    /// How much of a GPU is taken, in thousandths.
    pub fn booked_milli(&self, gpu: u8) -> u32 {
        self.booked_milli.get(usize::from(gpu)).copied().unwrap_or(0)
    }

    /// Books an assignment, if it can start here.
    pub(super) fn take(&mut self, assignment: &Arc<Assignment>, now_ms: u64) -> Result<(), Refusal> {
        self.check(assignment)?;
        for gpu in &assignment.gpus {
            self.booked_milli[usize::from(*gpu)] += assignment.spec.demand.milli_per_gpu();
        }
        self.running.insert(assignment.attempt, Hosted { assignment: Arc::clone(assignment), since_ms: now_ms });
        Ok(())
    }

    /// Whether an assignment can start here.
    pub fn check(&self, assignment: &Assignment) -> Result<(), Refusal> {
        if !self.answers() {
            return Err(Refusal::Down);
        }
        if self.running.contains_key(&assignment.attempt) {
            return Err(Refusal::Duplicate);
        }
        if assignment.incarnation != self.spec.incarnation {
            return Err(Refusal::OtherIncarnation);
        }
        if self.is_leaving {
            return Err(Refusal::Leaving);
        }
        let share = assignment.spec.demand.milli_per_gpu();
        let fits = |gpu: &u8| self.booked_milli.get(usize::from(*gpu)).is_some_and(|booked| booked + share <= GPU_MILLI);
        if !assignment.gpus.iter().all(fits) {
            return Err(Refusal::NoRoom);
        }
        if assignment.gpus.iter().any(|gpu| self.out_of_service[usize::from(*gpu)]) {
            return Err(Refusal::OutOfService);
        }
        let (kind, class) = (&assignment.spec.kind, assignment.spec.class());
        if self.spec.kinds.iter().any(|offered| offered == kind || offered == class) { Ok(()) } else { Err(Refusal::UnknownKind) }
    }

    /// Forgets an attempt, and says whether it was (still) here.
    pub(super) fn finish(&mut self, attempt: AttemptId) -> bool {
        let Some(hosted) = self.running.remove(&attempt) else { return false };
        for gpu in &hosted.assignment.gpus {
            self.booked_milli[usize::from(*gpu)] -= hosted.assignment.spec.demand.milli_per_gpu();
        }
        true
    }

    pub(super) fn drop_attempts(&mut self) -> Vec<Arc<Assignment>> {
        self.booked_milli.fill(0);
        std::mem::take(&mut self.running).into_values().map(|hosted| hosted.assignment).collect()
    }

    pub(super) fn start_leaving(&mut self) {
        self.is_leaving = true;
    }

    /// The number of the next heartbeat; none while the node is down or its heartbeats are lost.
    pub fn next_heartbeat(&mut self) -> Option<u64> {
        (self.answers() && !self.is_mute).then(|| {
            self.heartbeat_seq += 1;
            self.heartbeat_seq
        })
    }

    pub(super) fn synced(&self, now_ms: u64) -> SyncedNode {
        let running = |hosted: &Hosted| RunningAttempt {
            assignment: (*hosted.assignment).clone(),
            started_at_ms: hosted.assignment.placed_at_ms,
            elapsed_ms: Some(now_ms.saturating_sub(hosted.since_ms)),
        };
        SyncedNode {
            node: self.spec.node.clone(),
            incarnation: self.spec.incarnation,
            running: self.running.values().map(running).collect(),
            part: SyncPart::default(),
        }
    }

    /// The machine died, and with it everything on it. Returns how many attempts that were.
    pub fn on_crash(&mut self) -> usize {
        self.is_down = true;
        self.drop_attempts().len()
    }

    /// The machine is back, in its next life.
    pub fn on_reboot(&mut self) {
        self.is_down = false;
        self.spec.incarnation += 1;
        self.heartbeat_seq = 0;
    }

    /// Nothing that it says gets out and nothing gets in, though its work goes on: a zombie. Or that is over.
    pub fn on_cut_off(&mut self, is_cut_off: bool) {
        self.is_cut_off = is_cut_off;
    }

    /// A GPU must not be used any more, or has been reset.
    pub fn on_gpu_service(&mut self, gpu: u8, is_out_of_service: bool) {
        if let Some(out) = self.out_of_service.get_mut(usize::from(gpu)) {
            *out = is_out_of_service;
        }
    }

    /// Its heartbeats get lost, or do so no more.
    pub fn on_mute(&mut self, is_mute: bool) {
        self.is_mute = is_mute;
    }

    pub(super) fn sanity_check(&self) {
        let mut booked = vec![0; self.booked_milli.len()];
        for hosted in self.running.values() {
            for gpu in &hosted.assignment.gpus {
                booked[usize::from(*gpu)] += hosted.assignment.spec.demand.milli_per_gpu();
            }
        }
        assert_eq!(booked, self.booked_milli, "the books of {} are wrong", self.spec.node);
        assert!(booked.iter().all(|milli| *milli <= GPU_MILLI), "a GPU of {} is oversubscribed", self.spec.node);
        assert!(!self.is_down || self.running.is_empty(), "{} is down and runs something", self.spec.node);
    }
}
