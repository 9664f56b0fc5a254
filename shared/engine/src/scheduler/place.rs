//! The placement pass: the planner decides, and what it decided becomes attempts. Why jobs still wait is counted here, class by class.

use faultline_planner::{ClassId, Decision, Limits, Placed, Why};
use rand::RngExt;

use super::why::{Reject, WhyWaiting, rejects, summarise};
use super::{Action, HeldState, LivePolicy, Note, RunningState, Scheduler};
use crate::job::{Assignment, AttemptId, Choice, JobId, RunnerUp};
use crate::words::span;

/// For how long an answer of all nodes is given again.
const REASONS_AGE_MS: u64 = 2_000;
/// How many classes of jobs all nodes are asked about for one answer: with 10,000 nodes, some milliseconds.
const LOOKS_FOR_REASONS: usize = 64;

impl Scheduler {
    /// Places what can be placed, as much as one pass may. Does nothing while a new leader still listens, or while workers refuse its
    /// epoch.
    pub(super) fn place(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        self.has_more_to_place = false;
        if now_ms < self.ready_at_ms || self.is_refused() {
            return;
        }
        if !self.consult(now_ms, actions) {
            let pass = self.planner.pass(Limits::default());
            self.has_more_to_place = pass.unfinished;
            self.note_fallback(pass.decisions.len());
            for Decision::Place { turn, placed } in pass.decisions {
                self.assign(JobId::from_bytes(turn.job), &placed, None, now_ms, actions);
            }
        }
        self.give_up_impossible(now_ms, actions);
    }

    /// Jobs that no node could ever run, once the nodes had time to come.
    fn give_up_impossible(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let unchanged_ms = now_ms.saturating_sub(self.nodes_changed_at_ms.max(self.ready_at_ms));
        if unchanged_ms < self.config.impossible_after_ms || !std::mem::take(&mut self.may_be_impossible) {
            return;
        }
        for class in self.planner.impossible() {
            let reason = format!("no node could ever run it: {}", summarise(&rejects(self.planner.refusals(class))));
            let jobs: Vec<JobId> = self.planner.turns(class).map(|turn| JobId::from_bytes(turn.job)).collect();
            for job in jobs {
                actions.extend(self.die(job, reason.clone(), String::new()));
            }
        }
    }

    /// The planner has booked the job on a node: it becomes an attempt there. `program`: what chose the node, if not the policy.
    pub(super) fn assign(&mut self, job: JobId, placed: &Placed, program: Option<&str>, now_ms: u64, actions: &mut Vec<Action>) {
        let node_name = self.planner.node_name(placed.node()).to_owned();
        let gpus: Vec<u8> = placed.gpus().iter().map(|gpu| gpu as u8).collect();
        let placed_at_ms = self.cluster_time(now_ms);
        let choice = self.choice(&placed.why);
        let choice = Box::new(match program {
            Some(name) => Choice { policy: LivePolicy::Program(name.to_owned()).to_string(), full_score: 0, ..choice },
            None => choice,
        });
        let (Some(held), Some(node)) = (self.jobs.get_mut(&job), self.nodes.get_mut(&node_name)) else { return };
        let attempt = AttemptId::new(placed_at_ms, self.rng.random());
        self.waiting[held.spec.priority as usize] -= 1;
        node.book(&gpus, &held.spec);
        node.attempts.insert(attempt, job);
        if let Some(lost_at_ms) = held.lost_at_ms.take() {
            self.counters.recovery.push(now_ms.saturating_sub(lost_at_ms));
            self.counters.replacement.push(now_ms.saturating_sub(lost_at_ms));
        }
        if let HeldState::Waiting { since_ms, .. } = held.state {
            self.counters.placement.push(now_ms.saturating_sub(since_ms));
        }
        if held.path.history.is_empty() {
            self.counters.wait.push(placed_at_ms.saturating_sub(held.stored_at_ms));
        }
        self.counters.placed += 1;
        held.has_paused = false;
        let assignment = Assignment {
            spec: held.spec.clone(),
            attempt,
            node: node_name.clone(),
            incarnation: node.spec.incarnation,
            gpus: gpus.clone(),
            open_seq: held.open_seq,
            ack_subject: held.ack_subject.clone(),
            placed_at_ms,
            failures: held.path.failures,
            requeues: held.path.requeues,
            history: held.path.history.clone(),
            why: String::new(),
            choice: Some(choice.clone()),
            epoch: self.epoch,
        };
        actions.push(Action::Assign { worker: node.spec.worker.clone(), assignment: Box::new(assignment) });
        actions.push(Action::Note(Note::Placed { job, attempt, node: node_name.clone(), choice: choice.clone(), path: held.path.clone() }));
        held.state = HeldState::Running(RunningState {
            attempt,
            node: node_name.clone(),
            incarnation: node.spec.incarnation,
            gpus: gpus.clone(),
            epoch: self.epoch,
            placed_at_ms,
            since_ms: now_ms,
            seen_at_ms: None,
            progress_permille: 0,
            delivered_again: false,
            why: String::new(),
            choice: Some(choice),
            placement: placed.placement,
            account: Box::new(self.goodput.begin(node.number, &held.spec, now_ms)),
            before_term_ms: 0,
        });
        self.check_booked(&node_name, &gpus, actions);
    }

    /// What the planner says of a node, with names.
    pub(super) fn choice(&self, why: &Why) -> Choice {
        let runner_up = why.runner_up.map(|(node, score)| RunnerUp { node: self.planner.node_name(node).to_owned(), score });
        Choice {
            policy: self.policy_name().to_owned(),
            score: why.score,
            full_score: self.planner.full_score(),
            runner_up,
            fitting: why.fitting,
            nodes: why.nodes,
        }
    }

    /// Why a job still waits; `None` when it does not, or is not here.
    pub fn why_waiting(&self, job: JobId, now_ms: u64) -> Option<WhyWaiting> {
        WaitingReasons { scheduler: self, now_ms, max_age_ms: 0, looks_left: 1 }.of(job)
    }

    /// The same as it was up to two seconds ago, with the job's place in the order. Goes through all jobs before it.
    pub fn why_waiting_in_full(&self, job: JobId, now_ms: u64) -> Option<WhyWaiting> {
        let why = self.waiting_reasons(now_ms).of(job)?;
        Some(WhyWaiting { place: self.place_in_line(job), ..why })
    }

    /// The same for many jobs, as it was up to two seconds ago.
    pub fn waiting_reasons(&self, now_ms: u64) -> WaitingReasons<'_> {
        WaitingReasons { scheduler: self, now_ms, max_age_ms: REASONS_AGE_MS, looks_left: LOOKS_FOR_REASONS }
    }
}

/// Why jobs wait, job by job.
pub struct WaitingReasons<'a> {
    scheduler: &'a Scheduler,
    now_ms: u64,
    max_age_ms: u64,
    /// For how many classes of jobs all nodes may still be asked.
    looks_left: usize,
}

impl WaitingReasons<'_> {
    /// `None` when the job does not wait, or is not here.
    pub fn of(&mut self, job: JobId) -> Option<WhyWaiting> {
        let (scheduler, now_ms) = (self.scheduler, self.now_ms);
        let (since_ms, rejects, summary) = match &scheduler.jobs.get(&job)?.state {
            HeldState::Waiting { since_ms, class, .. } => {
                let rejects = self.rejects(*class);
                let summary = match &rejects {
                    _ if now_ms < scheduler.ready_at_ms => "a new leader listens before it places".to_owned(),
                    _ if scheduler.nodes.is_empty() => "no node is registered".to_owned(),
                    _ if !scheduler.planner.stands_aside(*class) => "it has not been tried yet".to_owned(),
                    Some(_) if scheduler.program.is_some() && scheduler.planner.has_room(*class) => {
                        "the policy program lets it wait until more is free".to_owned()
                    }
                    Some(rejects) => summarise(rejects),
                    None => "no node has room for it".to_owned(),
                };
                (*since_ms, rejects.unwrap_or_default(), summary)
            }
            HeldState::ReadingBack => (now_ms, Vec::new(), "its record is being read".to_owned()),
            HeldState::Returning { since_ms, until_ms } => {
                let summary = match until_ms.checked_sub(now_ms) {
                    Some(left_ms) if left_ms > 0 => format!("it is tried again in {}", span(left_ms)),
                    Some(_) | None => "JetStream delivers it again".to_owned(),
                };
                (*since_ms, Vec::new(), summary)
            }
            HeldState::Running(_) => return None,
        };
        Some(WhyWaiting { since_ms: scheduler.cluster_time(since_ms), rejects, summary, place: None })
    }

    /// `None` when it is not known and would take one look too many.
    fn rejects(&mut self, class: ClassId) -> Option<Vec<Reject>> {
        let planner = &self.scheduler.planner;
        // A class that does not stand aside has yet to be tried.
        if !planner.stands_aside(class) {
            return None;
        }
        let mut known = self.scheduler.rejects.borrow_mut();
        let is_new = |at_ms: u64| self.now_ms.saturating_sub(at_ms) < self.max_age_ms;
        match known.get(&class) {
            Some((at_ms, before)) if is_new(*at_ms) || self.looks_left == 0 => return Some(before.clone()),
            None if self.looks_left == 0 => return None,
            Some(_) | None => {}
        }
        self.looks_left -= 1;
        let now = rejects(planner.refusals(class));
        known.insert(class, (self.now_ms, now.clone()));
        Some(now)
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
pub(super) mod tests;
