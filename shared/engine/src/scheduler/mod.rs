//! The scheduler's decisions: one `on_*` function an external event, each of which changes the state and returns
//! what is to be done. It does no IO, reads no clock and holds no truth: all of it can be rebuilt from JetStream,
//! the heartbeats and the workers' answers to a sync.
//!
//! `now_ms` is a time that passes evenly and belongs to this process alone. What other processes say of time is taken as a duration (how
//! long an attempt has run, how long a retry waits) or only handed on. What they read is in the cluster's time, see
//! [`Scheduler::set_cluster_time`].

mod accounting;
mod availability;
mod call;
#[cfg(test)]
mod clock_tests;
mod consult;
mod counters;
mod durations;
mod epoch;
mod explain;
mod fencing;
pub mod flight;
#[cfg(test)]
mod flight_tests;
mod goodput;
mod gpu_slot;
mod held;
mod invariants;
mod jobs;
mod late_ends;
mod nodes;
mod place;
mod planning;
mod policy;
mod program;
mod refusals;
mod sanity;
mod sync;
mod takeover;
#[cfg(test)]
mod tests;
mod untold;
mod violation;
mod why;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use faultline_planner::{ClassId, NodeId, Planner};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use self::accounting::AttemptEnd;
use crate::goodput::LossCause;
use crate::job::{Assignment, AttemptId, AttemptOutcome, Choice, JobId, JobSpec, Path, Priority};
use crate::node::{GpuTelemetry, Health, NodeSpec};

pub use call::Call;
pub use counters::{Counters, GpuTime, Recent, Totals};
pub use durations::{BOUNDS_MS, Durations};
pub use epoch::{MAX_EPOCH, Refusals, Refused, raised_epoch};
pub use explain::{MAX_WOULD_FIT, Spot, WouldFit, check_would_fit};
pub use goodput::Goodput;
pub use gpu_slot::GpuSlot;
pub use held::{Held, HeldState, RunningState};
pub use jobs::{Delivery, Past, RecordRead};
pub use nodes::{Beat, NODE_LEFT, RunningSign};
pub use place::WaitingReasons;
pub use planning::{machine_of, planner_settings, task_class_of, turn_of};
pub use policy::{InvalidPolicy, LivePolicy, PolicyName};
pub use program::{Heard, ProgramNews, ProgramStanding, ProgramState, Question};
pub use sync::{PendingMessage, SyncPart, SyncedNode};
pub use violation::Violation;
pub use why::{PlaceInLine, Reject, RejectReason, WhyWaiting};

/// Every duration that the scheduler knows, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SchedulerConfig {
    /// How much longer a job must have waited to go before one of the next higher priority.
    pub aging_ms: u64,
    /// After its election a leader listens this long before it places: a heartbeat and the answers to its sync.
    pub settle_ms: u64,
    /// An attempt that the node's heartbeats still do not name this long after its placement never arrived.
    pub reconcile_after_ms: u64,
    /// An attempt named by a heartbeat this recently is alive, whatever JetStream delivers again.
    pub recently_seen_ms: u64,
    /// Nothing is placed on a node that has been silent for this long, whatever the detector says.
    pub silent_after_ms: u64,
    /// The detector repeats its verdicts: one that was not repeated for this long is forgotten when the node beats.
    pub verdict_expires_ms: u64,
    /// How often a job that waits here is kept from being delivered again.
    pub progress_every_ms: u64,
    /// How long after its time limit an attempt is given up when its worker has not done so.
    pub timeout_grace_ms: u64,
    /// A job that fits no node is dead once the set of nodes has not changed for this long.
    pub impossible_after_ms: u64,
    /// An attempt that this leader did not place is killed when heartbeats have named it for this long.
    pub zombie_after_ms: u64,
    /// A job on its way back that does not come within this time has ended elsewhere.
    pub forget_after_ms: u64,
    /// A policy program that does not answer within this time is left out.
    pub answer_within_ms: u64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            aging_ms: 60_000,
            settle_ms: 1_200,
            reconcile_after_ms: 2_000,
            recently_seen_ms: 3_000,
            silent_after_ms: 3_000,
            verdict_expires_ms: 10_000,
            progress_every_ms: 5_000,
            timeout_grace_ms: 10_000,
            impossible_after_ms: 10_000,
            zombie_after_ms: 2_500,
            forget_after_ms: 180_000,
            answer_within_ms: 1_000,
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Hand an attempt, and with it the message's ack subject, to a worker.
    Assign { worker: String, assignment: Box<Assignment> },
    /// The message is of no use any more.
    Ack { ack_subject: String },
    /// Have the message delivered again.
    Nak { ack_subject: String, delay_ms: u64 },
    /// The message is still being dealt with.
    InProgress { ack_subject: String },
    /// Read the job's record and its last event; the answer goes to `on_record_read`.
    ReadBack { job: JobId },
    /// Stop an attempt that has no business running.
    Kill { worker: String, attempt: AttemptId, reason: String },
    /// Commit the job as dead, write the dead letter, acknowledge.
    Die { job: Box<Held>, reason: String, last_error: String },
    /// Ask a worker what it runs; the answer goes to `on_synced`.
    AskSync { worker: String },
    /// List what JetStream has delivered and waits for; the answer goes to `on_pending`.
    ListPending,
    /// Write the lease again with an epoch above this one; the new epoch goes to `on_epoch_raised`.
    RaiseEpoch { above: u64 },
    /// Something is that must never be.
    Report(Violation),
    /// For the history.
    Note(Note),
    /// Send a request to the policy program; what comes of it goes to `on_answered`.
    Ask(Box<Question>),
    /// How it stands with the policy program, for the log and the history.
    Tell(ProgramNews),
}

/// What the history is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    Placed {
        job: JobId,
        attempt: AttemptId,
        node: String,
        choice: Box<Choice>,
        /// Before this attempt.
        path: Path,
    },
    /// An attempt is over without a result, as far as is known here: the job itself may have failed in it.
    Lost { job: JobId, attempt: AttemptId, node: String, reason: String, path: Path },
}

impl Note {
    /// Whether a new leader must find it as the job's last event. A lost attempt never is: its worker may have written a failure of
    /// the job a moment ago, which only a read-back finds, and which must not be covered up.
    pub fn is_read_back(&self) -> bool {
        matches!(self, Note::Placed { path, .. } if !path.history.is_empty())
    }
}

/// A node in the scheduler's books.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeState {
    pub spec: NodeSpec,
    /// Its number in the planner.
    id: NodeId,
    /// Its number in the books of GPU time.
    number: usize,
    /// The moment at which it is looked at again, where one is listed.
    look_at_ms: Option<u64>,
    pub health: Health,
    /// When the detector said so last.
    judged_at_ms: u64,
    pub draining: bool,
    /// It said that it takes nothing new.
    pub leaving: bool,
    pub slots: Vec<GpuSlot>,
    pub attempts: BTreeMap<AttemptId, JobId>,
    pub last_heartbeat_ms: Option<u64>,
    /// Since when this life of it has been known.
    since_ms: u64,
    /// It has registered with a lower incarnation: the store that counts its lives was made anew, or an earlier life spoke late.
    lower: Option<NodeSpec>,
    pub telemetry: Vec<GpuTelemetry>,
    /// Attempts that its heartbeats name and that are not in the books.
    strangers: BTreeMap<AttemptId, sync::Stranger>,
    /// It has told this leader what it runs.
    synced: bool,
    /// What it named then.
    listed: BTreeSet<AttemptId>,
    /// An answer of several parts that is not complete yet.
    hearing: sync::Hearing,
    refusals: refusals::Refusals,
}

/// The whole state of a leading scheduler.
pub struct Scheduler {
    config: SchedulerConfig,
    policy: PolicyName,
    /// Decides where jobs run; knows all nodes, and the jobs that wait.
    planner: Planner,
    /// Decides in place of the policy, while it answers.
    program: Option<Box<program::Program>>,
    rng: Pcg64Mcg,
    /// The lease under which this leader places.
    epoch: u64,
    elected_at_ms: u64,
    /// How far the cluster's time is ahead of `now_ms`.
    cluster_ahead_ms: i64,
    /// When it has listened long enough to place.
    ready_at_ms: u64,
    /// A search for unclaimed messages, while there is one.
    reclaim: Option<sync::Reclaim>,
    /// Answers of nodes whose registration has not been read yet.
    early_syncs: BTreeMap<String, Vec<SyncedNode>>,
    /// Ends of attempts that a leader before did not hear of, until their jobs come.
    untold: untold::Untold,
    refusals: Refusals,
    watchdog: violation::Watchdog,
    nodes: BTreeMap<String, NodeState>,
    nodes_changed_at_ms: u64,
    /// Drained nodes, also ones that are not there yet.
    drained: BTreeSet<String>,
    /// When to look at which node again, because it may begin or cease to take work without an event. A node whose moment has become an
    /// earlier one leaves the later one behind.
    moments: BTreeSet<(u64, NodeId)>,
    jobs: BTreeMap<JobId, Held>,
    /// How many jobs wait for room, by priority.
    waiting: [usize; Priority::ALL.len()],
    /// The last placement pass stopped at its limits.
    has_more_to_place: bool,
    /// Jobs or nodes came since it was last asked whether some node could ever run each waiting job, or a second passed.
    may_be_impossible: bool,
    /// Why nodes refuse a class of waiting jobs, and when they were asked: many ask, and each answer takes a look at all nodes.
    rejects: RefCell<BTreeMap<ClassId, (u64, Vec<Reject>)>>,
    last_full_pass_ms: u64,
    counters: Counters,
    goodput: accounting::Accounting,
}

impl Scheduler {
    /// A leader elected at `now_ms`, with nothing in its books yet.
    pub fn new(config: SchedulerConfig, policy: PolicyName, seed: u64, now_ms: u64) -> Self {
        Self {
            policy,
            planner: planning::new_planner(policy, seed),
            program: None,
            rng: Pcg64Mcg::seed_from_u64(seed),
            epoch: 0,
            elected_at_ms: now_ms,
            cluster_ahead_ms: 0,
            ready_at_ms: now_ms + config.settle_ms,
            reclaim: Some(sync::Reclaim::starting_at(now_ms)),
            early_syncs: BTreeMap::new(),
            untold: untold::Untold::default(),
            refusals: Refusals::default(),
            watchdog: violation::Watchdog::default(),
            nodes: BTreeMap::new(),
            nodes_changed_at_ms: now_ms,
            drained: BTreeSet::new(),
            moments: BTreeSet::new(),
            jobs: BTreeMap::new(),
            waiting: [0; Priority::ALL.len()],
            has_more_to_place: false,
            may_be_impossible: false,
            rejects: RefCell::default(),
            last_full_pass_ms: now_ms,
            counters: Counters::default(),
            goodput: accounting::Accounting::new(now_ms),
            config,
        }
    }

    /// Under this lease; every assignment carries it.
    pub fn under_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// What the cluster's time is at `now_ms`, in Unix milliseconds: people and other processes read times in it, and JetStream's stored
    /// times are in it. Until this is told, it is taken for `now_ms`.
    pub fn set_cluster_time(&mut self, now_ms: u64, cluster_ms: u64) {
        self.cluster_ahead_ms = i64::try_from(i128::from(cluster_ms) - i128::from(now_ms)).unwrap_or(0);
    }

    /// A moment of this process in the cluster's time.
    pub fn cluster_time(&self, at_ms: u64) -> u64 {
        at_ms.saturating_add_signed(self.cluster_ahead_ms)
    }

    /// The built-in policy, which decides unless a program does.
    pub fn policy_name(&self) -> &'static str {
        self.policy.as_str()
    }

    /// What was set: the built-in policy, or `service:NAME`.
    pub fn policy_in_force(&self) -> String {
        self.program().map_or_else(|| self.policy_name().to_owned(), |program| LivePolicy::Program(program.name).to_string())
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    /// Nodes by name, those after `name`.
    pub fn nodes_after<'a>(&'a self, name: Option<&str>) -> impl Iterator<Item = &'a NodeState> + 'a {
        let start = name.map_or(std::ops::Bound::Unbounded, |name| std::ops::Bound::Excluded(name.to_owned()));
        self.nodes.range((start, std::ops::Bound::Unbounded)).map(|(_, node)| node)
    }

    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    pub fn job(&self, job: JobId) -> Option<&Held> {
        self.jobs.get(&job)
    }

    /// Jobs by id, those after `job`.
    pub fn jobs_after(&self, job: Option<JobId>) -> impl Iterator<Item = &Held> {
        let start = job.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.jobs.range((start, std::ops::Bound::Unbounded)).map(|(_, held)| held)
    }

    /// How many jobs wait here for room.
    pub fn waiting(&self) -> usize {
        self.planner.waiting()
    }

    /// How many of them have this priority.
    pub fn waiting_of(&self, priority: Priority) -> usize {
        self.waiting[priority as usize]
    }

    /// Whether the last pass left some of its work: `advance` is called again once whatever else is due has been done.
    pub fn has_more_to_place(&self) -> bool {
        self.has_more_to_place
    }

    /// How many attempts run.
    pub fn running(&self) -> usize {
        self.nodes.values().map(|node| node.attempts.len()).sum()
    }

    /// All nodes together, by one look at each.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for node in self.nodes.values() {
            totals.nodes[node.health as usize] += 1;
            totals.draining += u64::from(node.draining || node.leaving);
            totals.gpus += node.slots.len() as u64;
            totals.gpu_used_milli += node.slots.iter().map(|slot| u64::from(slot.used_milli)).sum::<u64>();
            totals.running += node.attempts.len() as u64;
        }
        totals
    }

    /// Time passes: keeps waiting messages, gives up what overstayed, places.
    pub fn advance(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.settle(now_ms);
        self.look_for_ownerless(now_ms, &mut actions);
        let passed_ms = now_ms.saturating_sub(self.last_full_pass_ms);
        if passed_ms >= 1000 {
            if passed_ms >= self.config.silent_after_ms {
                // A process that stood still knows as little of the nodes that there are as one that has just been elected.
                self.nodes_changed_at_ms = now_ms;
            }
            self.last_full_pass_ms = now_ms;
            self.may_be_impossible = true;
            self.look_after_jobs(now_ms, &mut actions);
            self.ask_again(now_ms, &mut actions);
        }
        self.look_again(now_ms);
        self.place(now_ms, &mut actions);
        self.classify_free(now_ms);
        actions
    }

    fn look_after_jobs(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let mut overstayed = Vec::new();
        let mut forgotten = Vec::new();
        for (id, held) in &mut self.jobs {
            match &held.state {
                HeldState::Waiting { .. } | HeldState::ReadingBack => {
                    if now_ms.saturating_sub(held.progress_sent_ms) >= self.config.progress_every_ms {
                        held.progress_sent_ms = now_ms;
                        actions.push(Action::InProgress { ack_subject: held.ack_subject.clone() });
                    }
                }
                HeldState::Running(running) => {
                    // By this process's own clock: what another machine's clock showed at the placement says nothing about it.
                    if now_ms.saturating_sub(running.since_ms) > held.spec.timeout_ms.saturating_add(self.config.timeout_grace_ms) {
                        overstayed.push(*id);
                    }
                }
                HeldState::Returning { until_ms, .. } => {
                    if now_ms > until_ms + self.config.forget_after_ms {
                        forgotten.push(*id);
                    }
                }
            }
        }
        for job in forgotten {
            self.jobs.remove(&job);
        }
        for job in overstayed {
            self.kill(job, "ran past its time limit and its worker did not stop it", actions);
            let reason = "ran past its time limit and its worker did not stop it";
            self.lose(job, reason, LossCause::TimeLimit, now_ms, now_ms, actions);
        }
    }

    fn kill(&self, job: JobId, reason: &str, actions: &mut Vec<Action>) {
        if let Some(HeldState::Running(running)) = self.jobs.get(&job).map(|held| &held.state)
            && let Some(node) = self.nodes.get(&running.node)
        {
            actions.push(Action::Kill { worker: node.spec.worker.clone(), attempt: running.attempt, reason: reason.to_owned() });
        }
    }

    /// Takes a running attempt out of the books of its node.
    fn release(&mut self, running: &mut RunningState, spec: &JobSpec, end: AttemptEnd, now_ms: u64) {
        self.settle_account(running, spec, end, now_ms);
        self.planner.release(&running.placement);
        if let Some(node) = self.nodes.get_mut(&running.node)
            && node.attempts.remove(&running.attempt).is_some()
        {
            node.unbook(&running.gpus, spec);
        }
    }

    /// An attempt is gone through no fault of its job: it costs a requeue, and JetStream is asked for the message.
    /// `last_sign_ms`: when the attempt's node last gave a sign of life.
    fn lose(&mut self, job: JobId, reason: &str, cause: LossCause, last_sign_ms: u64, now_ms: u64, actions: &mut Vec<Action>) {
        let Some(held) = self.jobs.get_mut(&job) else { return };
        let HeldState::Running(mut running) =
            std::mem::replace(&mut held.state, HeldState::Returning { since_ms: now_ms, until_ms: now_ms })
        else {
            unreachable!("only running attempts are lost");
        };
        self.watchdog.give_up(running.attempt, now_ms);
        held.path.requeue(running.summary(&held.spec, AttemptOutcome::Lost, now_ms, reason));
        held.lost_at_ms = Some(now_ms);
        actions.push(Action::Nak { ack_subject: held.ack_subject.clone(), delay_ms: 0 });
        actions.push(Action::Note(Note::Lost {
            job,
            attempt: running.attempt,
            node: running.node.clone(),
            reason: reason.to_owned(),
            path: held.path.clone(),
        }));
        let spec = held.spec.clone();
        self.counters.requeued += 1;
        self.counters.requeue.push(now_ms.saturating_sub(last_sign_ms));
        self.counters.detection.push(now_ms.saturating_sub(last_sign_ms));
        self.counters.gpu_time.lost_milli_ms += running.gpu_milli_ms(&spec, now_ms);
        let end = AttemptEnd { last_sign_ms, ..AttemptEnd::now(cause, now_ms) };
        self.release(&mut running, &spec, end, now_ms);
    }
}
