//! The cluster's history folded by cause: a fault or a first sign, how it was noticed, the attempts that it interrupted, where their jobs
//! went, how these ended, and when all was well again. Pure: events and ends are told to it, and nothing is read here but in [`read`]. The
//! command, REST and the page show what it says, so that they cannot disagree.
//!
//! What belongs together: the faults of one failure domain, or of one order, that begin within moments; all nodes of one worker; everything
//! that happens to nodes and leaders while NATS is down. Attempts that fail by themselves are no incident, unless many do at once.

mod incident;
mod placed;
pub mod read;
pub mod report;
#[cfg(test)]
mod report_tests;
mod tally;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use faultline_engine::agent::REFUSED;
use faultline_engine::fault::cause::{BrokenAttempt, cause_of, takes_node_away};
use faultline_engine::fault::fault_id;
use faultline_engine::job::{AttemptId, AttemptOutcome, JobId, JobState};
use faultline_engine::node::Health;
use faultline_engine::scheduler::NODE_LEFT;
use faultline_protocol::messages::{ClusterEvent, EventKind, FaultTruth, Level};

pub use incident::IncidentKind;
use incident::{AFTERMATH_MS, BURST_MS, DOMAIN_MS, Incident, is_nats};
use placed::LastPlaced;
pub use tally::Tally;
pub use view::{IncidentState, IncidentView, MovedBetween, MovedTo, Step, StepKind};

/// How many incidents are kept; the oldest go first.
pub const MAX_INCIDENTS: usize = 1_000;
/// How many placements after an interruption are remembered, since they may be stored before the interruption is.
const MAX_PLACEMENTS: usize = 10_000;
/// Signs without a known cause that come from one worker, or at one departure, within this time belong together.
const SIGNS_MS: u64 = 3_000;
/// So many attempts that fail by themselves within [`BURST_MS`] are an incident, if one in [`BURST_SHARE`] of those placed meanwhile does: on a
/// large cluster some always fail.
const BURST: usize = 10;
const BURST_SHARE: usize = 4;

/// The fold. Events are told in the order in which they were stored, and none twice.
#[derive(Debug, Default)]
pub struct Incidents {
    next: u64,
    all: BTreeMap<u64, Incident>,
    /// The worker that hosts each node.
    hosts: BTreeMap<String, String>,
    /// The incident that a target of a fault was in last.
    by_target: BTreeMap<String, u64>,
    /// The incident that a node was judged in last.
    by_node: BTreeMap<String, u64>,
    /// Interrupted jobs that have not ended, and the incidents that interrupted them, the last one last.
    by_job: BTreeMap<JobId, Vec<u64>>,
    /// Placements of jobs that had been interrupted before.
    placements: BTreeMap<JobId, (AttemptId, String, u64)>,
    /// Attempts of which nothing has been told but where they were placed.
    running: LastPlaced,
    leader: Option<String>,
    /// Nodes that have joined and not left. None, after there were some: the cluster was stopped in order.
    present: BTreeSet<String>,
    was_stopped: bool,
    /// Attempts that failed by themselves lately.
    failures: VecDeque<(u64, JobId)>,
    /// When attempts were placed lately.
    placed_ms: VecDeque<u64>,
}

impl Incidents {
    /// A node and the worker process that hosts it: a fault of the worker is one of its nodes.
    pub fn on_node(&mut self, node: &str, worker: &str) {
        if self.hosts.get(node).is_none_or(|known| known != worker) {
            self.hosts.insert(node.to_owned(), worker.to_owned());
        }
    }

    /// A job has ended, at most once for each; `attempt` is the one that ended it, if one did. That one was not interrupted, whatever was
    /// said of it before its end was known.
    pub fn on_ended(&mut self, job: JobId, state: JobState, at_ms: u64, attempt: Option<AttemptId>) {
        self.placements.remove(&job);
        self.running.remove(job);
        for serial in self.by_job.remove(&job).unwrap_or_default() {
            let Some(incident) = self.all.get_mut(&serial) else { continue };
            incident.ended(job, state, at_ms, attempt);
            if incident.is_empty() {
                self.drop_incident(serial);
            }
        }
    }

    /// The job's record is there no more: it has ended, and nothing tells how.
    pub fn forget(&mut self, job: JobId) {
        self.placements.remove(&job);
        for serial in self.by_job.remove(&job).unwrap_or_default() {
            if let Some(incident) = self.all.get_mut(&serial) {
                incident.forgotten(job);
            }
        }
    }

    /// The history is read from its beginning again: what is known of hosts stays.
    pub fn begin_again(&mut self) {
        *self = Self { hosts: std::mem::take(&mut self.hosts), ..Self::default() };
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Interrupted jobs whose end is not known.
    pub fn open_jobs(&self) -> impl Iterator<Item = JobId> {
        self.by_job.keys().copied()
    }

    /// The incidents as they look at `now_ms`, newest first.
    pub fn newest(&self, now_ms: u64) -> impl Iterator<Item = IncidentView> {
        self.all.values().rev().map(move |incident| incident.view(now_ms))
    }

    pub fn find(&self, id: &str, now_ms: u64) -> Option<IncidentView> {
        self.all.values().rev().find(|incident| incident.id == id).map(|incident| incident.view(now_ms))
    }

    pub fn on_event(&mut self, event: &ClusterEvent) {
        match event.kind {
            EventKind::FaultBegan => self.on_fault_began(event),
            EventKind::FaultEnded => self.on_fault_ended(event),
            EventKind::NodeSuspect => self.on_judged(event, Health::Suspect),
            EventKind::NodeGone => self.on_judged(event, Health::Gone),
            EventKind::NodeDead => self.on_judged(event, Health::Dead),
            EventKind::NodeRecovered | EventKind::NodeLeft | EventKind::NodeJoined => self.on_back(event),
            EventKind::AttemptLost => self.on_interrupted(event),
            EventKind::AttemptFailed => self.on_failed(event),
            EventKind::AttemptSuperseded => self.settle(event),
            EventKind::JobPlaced => self.on_placed(event),
            EventKind::LeaderLost => self.on_leader_lost(event),
            EventKind::LeaderElected => self.on_leader(event),
            EventKind::JobDead => self.on_job_event(event, JobState::Dead),
            EventKind::JobCancelled => self.on_job_event(event, JobState::Cancelled),
            _ => {}
        }
    }

    fn on_job_event(&mut self, event: &ClusterEvent, state: JobState) {
        if let Some(job) = event.job {
            self.on_ended(job, state, event.at_ms, None);
        }
    }

    fn on_fault_began(&mut self, event: &ClusterEvent) {
        let Some(truth) = &event.fault else { return };
        let nodes = self.nodes_of(&truth.target);
        let serial = self.joined(truth).or_else(|| self.signs_of(truth, &nodes)).unwrap_or_else(|| {
            let fresh = Incident::new(truth.id.clone(), IncidentKind::Fault, truth.from_ms);
            self.open(fresh)
        });
        self.by_target.insert(truth.target.clone(), serial);
        let led = self.leader.as_ref() == Some(&truth.target) && takes_node_away(&truth.kind);
        for node in &nodes {
            self.by_node.insert(node.clone(), serial);
        }
        if let Some(incident) = self.all.get_mut(&serial) {
            incident.fault_began(truth, nodes, led);
        }
    }

    /// The nodes that a fault of this target is about: the node that it names, or those of the worker that it names.
    fn nodes_of(&self, target: &str) -> Vec<String> {
        if self.hosts.contains_key(target) {
            return vec![target.to_owned()];
        }
        self.hosts.iter().filter(|(_, worker)| *worker == target).map(|(node, _)| node.clone()).collect()
    }

    /// The incident whose faults this one came with.
    fn joined(&self, truth: &FaultTruth) -> Option<u64> {
        let newest = self.all.iter().rev().take_while(|(_, incident)| incident.began_ms + DOMAIN_MS >= truth.from_ms);
        newest.filter(|(_, incident)| incident.is_joined_by(truth)).map(|(serial, _)| *serial).next()
    }

    /// The incident of signs without a cause that this fault explains: the signs were stored before it.
    fn signs_of(&self, truth: &FaultTruth, nodes: &[String]) -> Option<u64> {
        let serials = nodes.iter().filter_map(|node| self.by_node.get(node).copied());
        let of_nodes = serials.max().filter(|serial| {
            self.all.get(serial).is_some_and(|incident| incident.kind == IncidentKind::Unexplained && incident.began_ms >= truth.from_ms)
        });
        of_nodes.or_else(|| self.leadership_lost_by(truth))
    }

    /// A leader that NATS was taken away from is deposed, and its word may be stored before that of the fault.
    fn leadership_lost_by(&self, truth: &FaultTruth) -> Option<u64> {
        let during = truth.from_ms..=truth.from_ms + AFTERMATH_MS;
        let is_of_it = |incident: &Incident| incident.kind == IncidentKind::Leader && during.contains(&incident.began_ms);
        let takes_it = is_nats(&truth.target) || self.leader.as_ref() == Some(&truth.target);
        takes_it.then(|| self.all.iter().rev().find(|(_, incident)| is_of_it(incident)).map(|(serial, _)| *serial)).flatten()
    }

    fn on_fault_ended(&mut self, event: &ClusterEvent) {
        let Some(truth) = &event.fault else { return };
        if let Some(incident) = self.all.values_mut().rev().find(|incident| incident.has_fault(&truth.id)) {
            incident.fault_ended(truth, &event.detail);
        }
    }

    fn on_judged(&mut self, event: &ClusterEvent, health: Health) {
        let Some(node) = event.node.clone() else { return };
        let known = self.incident_around(&node, event.at_ms);
        let serial = known.unwrap_or_else(|| self.open(self.unnamed(IncidentKind::Unexplained, event.at_ms)));
        self.by_node.insert(node.clone(), serial);
        if let Some(incident) = self.all.get_mut(&serial) {
            incident.judged(&node, health, &event.detail, event.at_ms);
        }
    }

    /// The incident that something about a node belongs to: its fault's or its worker's, that of its earlier verdict, that of NATS, or one of
    /// signs from the same worker.
    fn incident_around(&self, node: &str, at_ms: u64) -> Option<u64> {
        let worker = self.hosts.get(node);
        let fresh = |serial: &&u64| self.all.get(serial).is_some_and(|incident| incident.is_fresh(at_ms));
        let of_fault = [Some(node), worker.map(String::as_str)].into_iter().flatten().filter_map(|target| self.by_target.get(target));
        let of_node = self.by_node.get(node).into_iter();
        if let Some(serial) = of_fault.chain(of_node).filter(fresh).max() {
            return Some(*serial);
        }
        let recent = || self.all.iter().rev().take_while(|(_, incident)| incident.began_ms + 10 * AFTERMATH_MS >= at_ms);
        let of_nats = recent().find(|(_, incident)| incident.is_of_nats() && incident.is_fresh(at_ms));
        let same_worker = |incident: &Incident| worker.is_some() && incident.nodes().any(|known| self.hosts.get(known) == worker);
        let of_worker = || recent().find(|(_, incident)| incident.last_sign_ms + SIGNS_MS >= at_ms && same_worker(incident));
        of_nats.or_else(of_worker).map(|(serial, _)| *serial)
    }

    fn on_back(&mut self, event: &ClusterEvent) {
        let Some(node) = &event.node else { return };
        if let Some(incident) = self.by_node.get(node).and_then(|serial| self.all.get_mut(serial)) {
            incident.back(node, event.at_ms);
        }
        match event.kind {
            EventKind::NodeJoined => {
                self.on_node(node, &event.service);
                self.present.insert(node.clone());
            }
            EventKind::NodeLeft => {
                self.by_node.remove(node);
                self.present.remove(node);
                self.was_stopped |= self.present.is_empty();
            }
            _ => {}
        }
    }

    fn on_interrupted(&mut self, event: &ClusterEvent) {
        let (Some(job), Some(attempt), Some(node)) = (event.job, event.attempt, &event.node) else { return };
        self.running.forget(job, attempt);
        if event.detail.starts_with(REFUSED) {
            if let Some(incident) = self.last_of(job) {
                incident.refused(job, event.at_ms);
            }
            return;
        }
        let serial = self.incident_of_loss(event, attempt, node);
        let serials = self.by_job.entry(job).or_default();
        serials.retain(|known| *known != serial);
        serials.push(serial);
        let placement = self.placements.get(&job).filter(|(placed, _, at_ms)| *placed != attempt && *at_ms >= event.at_ms).cloned();
        let Some(incident) = self.all.get_mut(&serial) else { return };
        incident.interrupted(job, attempt, node, event.at_ms);
        if let Some((_, to, at_ms)) = placement {
            incident.placed(job, &to, at_ms);
        }
    }

    fn incident_of_loss(&mut self, event: &ClusterEvent, attempt: AttemptId, node: &str) -> u64 {
        let worker = self.hosts.get(node).map(String::as_str);
        let broken = BrokenAttempt {
            node,
            worker,
            from_ms: attempt.unix_ms(),
            ended_ms: event.at_ms,
            outcome: AttemptOutcome::Lost,
            detail: &event.detail,
        };
        let serials = [Some(node), worker].into_iter().flatten().filter_map(|target| self.by_target.get(target));
        let explained = |serial: &&u64| self.all.get(serial).is_some_and(|incident| cause_of(&broken, incident.faults()).is_some());
        let known = serials.filter(explained).max().copied().or_else(|| self.incident_around(node, event.at_ms));
        let departing = || {
            self.all
                .iter()
                .next_back()
                .filter(|(_, last)| last.kind == IncidentKind::Departure && last.last_sign_ms + SIGNS_MS >= event.at_ms)
        };
        known.or_else(|| departing().map(|(serial, _)| *serial)).unwrap_or_else(|| {
            let kind = if event.detail == NODE_LEFT { IncidentKind::Departure } else { IncidentKind::Unexplained };
            self.open(self.unnamed(kind, event.at_ms))
        })
    }

    fn on_placed(&mut self, event: &ClusterEvent) {
        let (Some(job), Some(attempt), Some(node)) = (event.job, event.attempt, &event.node) else { return };
        self.placed_ms.push_back(event.at_ms);
        while self.placed_ms.front().is_some_and(|at_ms| at_ms + BURST_MS < event.at_ms) {
            self.placed_ms.pop_front();
        }
        self.on_replaced(job, attempt, node, event.at_ms);
        if event.requeues == 0 && !self.by_job.contains_key(&job) {
            return;
        }
        self.placements.insert(job, (attempt, node.clone(), event.at_ms));
        if self.placements.len() > MAX_PLACEMENTS {
            self.placements.pop_first();
        }
        if let Some(incident) = self.last_of(job) {
            incident.placed(job, node, event.at_ms);
        }
    }

    /// A leader takes over the attempts that workers report, so one that died with its worker while no scheduler led is told of nowhere: its job
    /// is placed again, and that is all. Only where something is known to have happened to the node.
    fn on_replaced(&mut self, job: JobId, attempt: AttemptId, node: &str, at_ms: u64) {
        let Some((before, was_on)) = self.running.replace(job, attempt, node) else { return };
        if self.incident_around(&was_on, at_ms).is_none() {
            return;
        }
        let mut loss = ClusterEvent::new(at_ms, "", Level::Warn, EventKind::AttemptLost, String::new());
        (loss.job, loss.attempt, loss.node) = (Some(job), Some(before), Some(was_on));
        self.on_interrupted(&loss);
    }

    /// The attempt has ended, and not by what happened to its node.
    fn settle(&mut self, event: &ClusterEvent) {
        if let (Some(job), Some(attempt)) = (event.job, event.attempt) {
            self.running.forget(job, attempt);
        }
    }

    /// The incident that interrupted the job last.
    fn last_of(&mut self, job: JobId) -> Option<&mut Incident> {
        let serial = self.by_job.get(&job)?.last()?;
        self.all.get_mut(serial)
    }

    fn awaiting_leader(&self, at_ms: u64) -> Option<u64> {
        self.all.iter().rev().find(|(_, incident)| incident.awaits_leader(at_ms)).map(|(serial, _)| *serial)
    }

    /// A leader that was deposed says so: no scheduler leads from then on.
    fn on_leader_lost(&mut self, event: &ClusterEvent) {
        if self.leader.as_ref() == Some(&event.service) && self.awaiting_leader(event.at_ms).is_none() {
            let mut leaderless = self.unnamed(IncidentKind::Leader, event.at_ms);
            leaderless.leader_lost();
            self.open(leaderless);
        }
    }

    fn on_leader(&mut self, event: &ClusterEvent) {
        let before = self.leader.replace(event.service.clone());
        let awaited = self.awaiting_leader(event.at_ms);
        // After an orderly stop any scheduler may be the first one.
        let was_stopped = std::mem::take(&mut self.was_stopped);
        let has_moved = !was_stopped && before.as_ref().is_some_and(|before| *before != event.service);
        let serial = awaited.or_else(|| has_moved.then(|| self.open(self.unnamed(IncidentKind::Leader, event.at_ms))));
        // Every incident that cost the leader is over with the election, not only the last one.
        for (known, incident) in &mut self.all {
            if Some(*known) == serial || incident.is_leaderless() {
                incident.led_by(&event.service, before.as_deref(), event.at_ms);
            }
        }
    }

    /// Attempts that fail by themselves: only many at once are an incident.
    fn on_failed(&mut self, event: &ClusterEvent) {
        self.settle(event);
        let Some(job) = event.job else { return };
        self.failures.push_back((event.at_ms, job));
        while self.failures.front().is_some_and(|(at_ms, _)| at_ms + BURST_MS < event.at_ms) {
            self.failures.pop_front();
        }
        let placed = self.placed_ms.iter().filter(|at_ms| **at_ms + BURST_MS >= event.at_ms).count();
        if self.failures.len() * BURST_SHARE < placed {
            return;
        }
        let lasts = |incident: &Incident| incident.kind == IncidentKind::Failures && incident.last_sign_ms + BURST_MS >= event.at_ms;
        let lasting = self.all.iter().rev().find(|(_, incident)| lasts(incident)).map(|(serial, _)| *serial);
        if let Some(incident) = lasting.and_then(|serial| self.all.get_mut(&serial)) {
            incident.failed(job, event.at_ms);
        } else if self.failures.len() >= BURST {
            let began_ms = self.failures.front().map_or(event.at_ms, |(at_ms, _)| *at_ms);
            let mut burst = self.unnamed(IncidentKind::Failures, began_ms);
            for (at_ms, job) in &self.failures {
                burst.failed(*job, *at_ms);
            }
            self.open(burst);
        }
    }

    /// An incident without a fault that it could be named after.
    fn unnamed(&self, kind: IncidentKind, began_ms: u64) -> Incident {
        Incident::new(fault_id(began_ms, u128::from(self.next)), kind, began_ms)
    }

    fn open(&mut self, incident: Incident) -> u64 {
        let serial = self.next;
        self.next += 1;
        self.all.insert(serial, incident);
        if self.all.len() > MAX_INCIDENTS
            && let Some((&oldest, _)) = self.all.first_key_value()
        {
            self.drop_incident(oldest);
        }
        serial
    }

    fn drop_incident(&mut self, serial: u64) {
        self.all.remove(&serial);
        self.by_job.retain(|_, serials| {
            serials.retain(|known| *known != serial);
            !serials.is_empty()
        });
        self.by_node.retain(|_, known| *known != serial);
        self.by_target.retain(|_, known| *known != serial);
    }
}
