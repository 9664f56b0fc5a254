//! One incident: what belongs to it, and whether it is over.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::fault::FaultCause;
use faultline_engine::fault::cause::{KILL, ends_nodes};
use faultline_engine::job::{AttemptId, JobId, JobState};
use faultline_engine::node::Health;
use faultline_protocol::messages::FaultTruth;
use serde::Serialize;
use utoipa::ToSchema;

/// Faults of one failure domain begin within this time.
pub(super) const DOMAIN_MS: u64 = 5_000;
/// One order breaks several things within this time.
pub(super) const ORDER_MS: u64 = 250;
/// What follows a fault so long after its end is not of it any more: JetStream's ack timeout is the slowest way to notice.
pub(super) const AFTERMATH_MS: u64 = 30_000;
/// For so long attempts that fail by themselves count together.
pub(super) const BURST_MS: u64 = 10_000;

/// The process of a NATS server is called so, with a number where there are several.
const NATS: &str = "nats";

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// Something was broken on purpose, or a device failed: the ground truth is in the history.
    Fault,
    /// Nodes were given up or attempts interrupted, and no fault is known that explains it.
    Unexplained,
    /// Nodes were suspected and came back; no fault is known, and no attempt was interrupted.
    FalseAlarm,
    /// Nodes left in order and took attempts with them.
    Departure,
    /// Another scheduler leads, and no fault is known that explains it.
    Leader,
    /// Many attempts failed by themselves.
    Failures,
}

/// A verdict of the fault detector.
#[derive(Debug, Clone)]
pub(super) struct Sign {
    pub(super) at_ms: u64,
    pub(super) node: String,
    pub(super) health: Health,
    pub(super) evidence: String,
}

/// What happened to one node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeTrouble {
    /// Its worst verdict; none while it was only the target of a fault.
    pub(super) worst: Option<Health>,
    /// Its fault ended everything on it: it has to register again.
    awaited: bool,
    pub(super) back_ms: Option<u64>,
}

/// An interrupted job.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// The attempt that was interrupted, and where.
    attempt: AttemptId,
    pub(super) from: String,
    /// Where it was placed next, and when that first happened.
    pub(super) to: Option<String>,
    pub(super) placed_ms: Option<u64>,
    pub(super) end: Option<MoveEnd>,
}

/// How an interrupted job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MoveEnd {
    As(JobState),
    /// Its record has expired.
    Unknown,
}

#[derive(Debug, Clone)]
pub(super) struct LeaderChange {
    pub(super) to: String,
    pub(super) from: Option<String>,
    pub(super) at_ms: u64,
}

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) kind: IncidentKind,
    pub(super) began_ms: u64,
    /// When anything of it was told last.
    pub(super) last_sign_ms: u64,
    faults: BTreeMap<String, FaultTruth>,
    /// Faults whose end was told.
    ended: BTreeSet<String>,
    /// The words of the last fault that ended, without those of its beginning.
    pub(super) mended: String,
    pub(super) nodes: BTreeMap<String, NodeTrouble>,
    /// The first verdict of it.
    pub(super) noticed: Option<Sign>,
    /// The first one after which jobs move.
    pub(super) given_up: Option<Sign>,
    pub(super) first_loss_ms: Option<u64>,
    pub(super) moves: BTreeMap<JobId, Move>,
    pub(super) refusals: u32,
    /// The leader was its target, and no other one leads yet.
    leaderless: bool,
    pub(super) leader: Option<LeaderChange>,
    /// Attempts that failed by themselves.
    pub(super) failures: u32,
    failed_jobs: BTreeSet<JobId>,
    /// When its last job was placed again, or had ended.
    last_move_ms: u64,
    /// When the last of its jobs ended.
    pub(super) last_end_ms: Option<u64>,
}

pub(super) fn is_nats(target: &str) -> bool {
    target.starts_with(NATS)
}

impl Incident {
    pub(super) fn new(id: String, kind: IncidentKind, began_ms: u64) -> Self {
        Self {
            id,
            kind,
            began_ms,
            last_sign_ms: began_ms,
            faults: BTreeMap::new(),
            ended: BTreeSet::new(),
            mended: String::new(),
            nodes: BTreeMap::new(),
            noticed: None,
            given_up: None,
            first_loss_ms: None,
            moves: BTreeMap::new(),
            refusals: 0,
            leaderless: false,
            leader: None,
            failures: 0,
            failed_jobs: BTreeSet::new(),
            last_move_ms: began_ms,
            last_end_ms: None,
        }
    }

    pub(super) fn faults(&self) -> impl Iterator<Item = &FaultTruth> {
        self.faults.values()
    }

    pub(super) fn has_fault(&self, id: &str) -> bool {
        self.faults.contains_key(id)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    pub(super) fn failed_jobs(&self) -> usize {
        self.failed_jobs.len()
    }

    /// Whether the fault comes from the same failure domain or the same order as those that are known.
    pub(super) fn is_joined_by(&self, truth: &FaultTruth) -> bool {
        self.faults.values().any(|known| {
            let apart_ms = known.from_ms.abs_diff(truth.from_ms);
            match (&known.domain, &truth.domain) {
                (Some(known), Some(domain)) => known == domain && apart_ms <= DOMAIN_MS,
                (None, None) => {
                    let is_order = truth.cause == FaultCause::Ordered && !truth.by.is_empty() && known.by == truth.by;
                    // An experiment signs with its own id; other orders of one user look alike.
                    let within_ms = if truth.experiment().is_some() { DOMAIN_MS } else { ORDER_MS };
                    is_order && known.kind == truth.kind && apart_ms <= within_ms
                }
                _ => false,
            }
        })
    }

    pub(super) fn is_of_nats(&self) -> bool {
        self.faults.values().any(|fault| is_nats(&fault.target))
    }

    /// Whether what happens at `at_ms` can still be of it.
    pub(super) fn is_fresh(&self, at_ms: u64) -> bool {
        self.recovered_ms().is_none_or(|recovered_ms| at_ms <= recovered_ms + AFTERMATH_MS) && self.began_ms <= at_ms + DOMAIN_MS
    }

    /// `nodes` are those that it is about; `led`: its target led when it began.
    pub(super) fn fault_began(&mut self, truth: &FaultTruth, nodes: Vec<String>, led: bool) {
        self.kind = IncidentKind::Fault;
        self.began_ms = self.began_ms.min(truth.from_ms);
        self.sign(truth.from_ms);
        self.leaderless |= led;
        for node in nodes {
            let trouble = self.nodes.entry(node).or_default();
            trouble.awaited |= ends_nodes(&truth.kind);
            trouble.back_ms = None;
        }
        self.faults.entry(truth.id.clone()).or_insert_with(|| truth.clone());
    }

    pub(super) fn fault_ended(&mut self, truth: &FaultTruth, words: &str) {
        self.faults.insert(truth.id.clone(), truth.clone());
        self.ended.insert(truth.id.clone());
        let rest = words.strip_prefix(&truth.headline()).and_then(|rest| rest.strip_prefix("; ")).unwrap_or(words);
        rest.clone_into(&mut self.mended);
        self.sign(truth.until_ms.unwrap_or(truth.from_ms));
    }

    pub(super) fn judged(&mut self, node: &str, health: Health, evidence: &str, at_ms: u64) {
        let trouble = self.nodes.entry(node.to_owned()).or_default();
        trouble.worst = trouble.worst.max(Some(health));
        trouble.back_ms = None;
        let sign = || Sign { at_ms, node: node.to_owned(), health, evidence: evidence.to_owned() };
        self.noticed.get_or_insert_with(sign);
        if health != Health::Suspect {
            self.given_up.get_or_insert_with(sign);
        }
        self.sign(at_ms);
    }

    /// What happens to the node after it is back is not of this incident.
    pub(super) fn back(&mut self, node: &str, at_ms: u64) {
        if let Some(trouble) = self.nodes.get_mut(node).filter(|trouble| trouble.back_ms.is_none()) {
            trouble.back_ms = Some(at_ms);
            self.sign(at_ms);
        }
    }

    pub(super) fn interrupted(&mut self, job: JobId, attempt: AttemptId, node: &str, at_ms: u64) {
        self.moves.insert(job, Move { attempt, from: node.to_owned(), to: None, placed_ms: None, end: None });
        self.nodes.entry(node.to_owned()).or_default();
        self.first_loss_ms.get_or_insert(at_ms);
        self.sign(at_ms);
    }

    pub(super) fn placed(&mut self, job: JobId, node: &str, at_ms: u64) {
        if let Some(moved) = self.moves.get_mut(&job).filter(|moved| moved.to.is_none()) {
            moved.to = Some(node.to_owned());
            moved.placed_ms = Some(at_ms);
            self.moved(at_ms);
        }
    }

    /// The worker that it was placed on did not take it: it waits again.
    pub(super) fn refused(&mut self, job: JobId, at_ms: u64) {
        if let Some(moved) = self.moves.get_mut(&job).filter(|moved| moved.end.is_none()) {
            (moved.to, moved.placed_ms) = (None, None);
            self.refusals += 1;
            self.sign(at_ms);
        }
    }

    pub(super) fn ended(&mut self, job: JobId, state: JobState, at_ms: u64, attempt: Option<AttemptId>) {
        if self.moves.get(&job).is_some_and(|moved| attempt == Some(moved.attempt)) {
            self.moves.remove(&job);
        } else if let Some(moved) = self.moves.get_mut(&job) {
            let waited = moved.placed_ms.is_none();
            moved.end = Some(MoveEnd::As(state));
            self.last_end_ms = self.last_end_ms.max(Some(at_ms));
            if waited {
                self.moved(at_ms);
            }
        }
    }

    /// Nothing of it has turned out to be so.
    pub(super) fn is_empty(&self) -> bool {
        let is_judged = self.nodes.values().any(|trouble| trouble.worst.is_some());
        self.moves.is_empty() && self.faults.is_empty() && self.leader.is_none() && !self.leaderless && self.failures == 0 && !is_judged
    }

    pub(super) fn forgotten(&mut self, job: JobId) {
        if let Some(moved) = self.moves.get_mut(&job) {
            moved.end = Some(MoveEnd::Unknown);
        }
    }

    pub(super) fn failed(&mut self, job: JobId, at_ms: u64) {
        self.failures += 1;
        self.failed_jobs.insert(job);
        self.sign(at_ms);
    }

    pub(super) fn awaits_leader(&self, at_ms: u64) -> bool {
        let is_suspect = self.leaderless || self.is_of_nats();
        is_suspect && self.leader.is_none() && self.is_fresh(at_ms)
    }

    /// It cost the leader, and no scheduler has led since.
    pub(super) fn is_leaderless(&self) -> bool {
        self.leaderless && self.leader.is_none()
    }

    pub(super) fn leader_lost(&mut self) {
        self.leaderless = true;
    }

    pub(super) fn led_by(&mut self, to: &str, from: Option<&str>, at_ms: u64) {
        self.leaderless = false;
        self.leader = Some(LeaderChange { to: to.to_owned(), from: from.map(str::to_owned), at_ms });
        self.sign(at_ms);
    }

    /// The jobs that it interrupted, each with whether it waits to be placed again.
    pub(super) fn jobs(&self) -> impl Iterator<Item = (JobId, bool)> {
        self.moves.iter().map(|(job, moved)| (*job, moved.placed_ms.is_none() && moved.end.is_none()))
    }

    fn moved(&mut self, at_ms: u64) {
        self.last_move_ms = self.last_move_ms.max(at_ms);
        self.sign(at_ms);
    }

    fn sign(&mut self, at_ms: u64) {
        self.last_sign_ms = self.last_sign_ms.max(at_ms);
    }

    /// When all was well: each fault had ended, each node that was given up was back or had left in order, each interrupted job was placed
    /// again or had ended, and a scheduler led. None before.
    pub(super) fn recovered_ms(&self) -> Option<u64> {
        let is_open = |moved: &Move| moved.placed_ms.is_none() && moved.end.is_none();
        let lasts = self.faults.keys().any(|id| !self.ended.contains(id));
        let is_away = |trouble: &NodeTrouble| (trouble.worst.is_some() || trouble.awaited) && trouble.back_ms.is_none();
        if lasts || self.needs_leader() || self.nodes.values().any(is_away) || self.moves.values().any(is_open) {
            return None;
        }
        let faults = self.faults.values().filter_map(|fault| fault.until_ms);
        let nodes = self.nodes.values().filter_map(|trouble| trouble.back_ms);
        let leader = self.leader.as_ref().map(|change| change.at_ms);
        let failures = (self.failures > 0).then_some(self.last_sign_ms);
        faults.chain(nodes).chain(leader).chain(failures).chain([self.began_ms, self.last_move_ms]).max()
    }

    /// A killed leader is followed by an election; a frozen one that is back before its lease ends goes on leading.
    fn needs_leader(&self) -> bool {
        let is_left = self.kind == IncidentKind::Leader;
        self.leaderless && (is_left || self.faults.values().any(|fault| fault.kind == KILL || !self.ended.contains(&fault.id)))
    }
}
