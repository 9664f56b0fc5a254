//! What happens to jobs: delivered, read back, ended, cancelled, adopted after a change of leader.

use std::collections::btree_map::Entry;

use super::place::demand_kind;
use super::{Action, Held, HeldState, RunningState, Scheduler};
use crate::job::{AttemptOutcome, AttemptSummary, EndedAttempt, JobId, JobSpec, JobState, RunningAttempt, push_history};

/// The longest pause before a retry that is asked for at once: a worker's clock that runs ahead must not hold a job for hours.
const MAX_PAUSE_MS: u64 = 60_000;

/// A message of JOBS that JetStream handed to the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub spec: JobSpec,
    pub open_seq: u64,
    pub ack_subject: String,
    pub traceparent: Option<String>,
    /// Whether JetStream says that it was delivered before. After a crash of the server it may not remember.
    pub redelivered: bool,
}

/// What a job has been through, as its last event tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Past {
    pub failures: u32,
    pub requeues: u32,
    pub history: Vec<AttemptSummary>,
    /// It failed, and is not to be tried again before this.
    pub retry_at_ms: u64,
    /// It failed in a way that no retry would mend.
    pub no_retry: bool,
}

/// What RESULTS and EVENTS said of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordRead {
    /// It is open under this sequence; its last event carried this past.
    Open {
        seq: u64,
        past: Past,
    },
    Ended(JobState),
    /// There is no record: it ended so long ago that the record expired, or it was never submitted properly.
    Missing,
    /// It could not be read.
    Failed(String),
}

impl Scheduler {
    /// JetStream delivered a job.
    pub fn on_delivered(&mut self, delivery: Delivery, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let id = delivery.spec.id;
        self.counters.redelivered += u64::from(delivery.redelivered);
        let Some(held) = self.jobs.get_mut(&id) else {
            self.take(delivery, now_ms, &mut actions);
            return actions;
        };
        held.ack_subject = delivery.ack_subject;
        match &mut held.state {
            // Acknowledging acts on the stream's sequence: the old ack subject and the new one are worth the same.
            HeldState::Waiting { .. } | HeldState::ReadingBack => {}
            HeldState::Returning { .. } => {
                held.state = HeldState::ReadingBack;
                actions.push(Action::ReadBack { job: id });
            }
            HeldState::Running(running) => {
                // A worker hands a failed job back and reports the failure: the two can arrive in either order.
                running.delivered_again = true;
                let seen = running.seen_at_ms.unwrap_or(running.placed_at_ms);
                if now_ms.saturating_sub(seen) > self.config.recently_seen_ms {
                    self.kill(id, "delivered again", &mut actions);
                    self.lose(id, "no sign of it for so long that JetStream delivered the job again", seen, now_ms, &mut actions);
                    // The message is here already: no need to ask for it.
                    actions.retain(|action| !matches!(action, Action::Nak { .. }));
                    if let Some(held) = self.jobs.get_mut(&id) {
                        held.state = HeldState::ReadingBack;
                        actions.push(Action::ReadBack { job: id });
                    }
                }
            }
        }
        actions
    }

    fn take(&mut self, delivery: Delivery, now_ms: u64, actions: &mut Vec<Action>) {
        let id = delivery.spec.id;
        let redelivered = delivery.redelivered;
        let demand_kind = demand_kind(&delivery.spec);
        let held = Held {
            spec: delivery.spec,
            open_seq: delivery.open_seq,
            ack_subject: delivery.ack_subject,
            traceparent: delivery.traceparent,
            failures: 0,
            requeues: 0,
            history: Vec::new(),
            state: HeldState::ReadingBack,
            demand_kind,
            progress_sent_ms: now_ms,
            lost_at_ms: None,
        };
        if let Err(invalid) = held.spec.validate() {
            actions.push(Action::Die { job: Box::new(held), reason: format!("impossible demand: {invalid}"), last_error: String::new() });
            return;
        }
        self.jobs.insert(id, held);
        if redelivered {
            actions.push(Action::ReadBack { job: id });
        } else {
            self.wait(id, now_ms);
        }
    }

    fn wait(&mut self, job: JobId, now_ms: u64) {
        if let Some(held) = self.jobs.get_mut(&job) {
            held.state = HeldState::Waiting { since_ms: now_ms };
            self.queue.insert(job, held.spec.priority, held.spec.submitted_at_ms);
            self.demand_kinds.entry(held.demand_kind).or_default().waiting += 1;
            self.dirty = true;
        }
    }

    /// Takes a job out of the queue, if it waits there.
    pub(super) fn unqueue(&mut self, job: JobId) {
        if let Some(held) = self.jobs.get(&job)
            && self.queue.remove(job, held.spec.priority, held.spec.submitted_at_ms)
            && let Entry::Occupied(mut kind) = self.demand_kinds.entry(held.demand_kind)
        {
            kind.get_mut().waiting -= 1;
            if kind.get().waiting == 0 {
                kind.remove();
            }
        }
    }

    /// The answer to [`Action::ReadBack`].
    pub fn on_record_read(&mut self, job: JobId, read: RecordRead, now_ms: u64) -> Vec<Action> {
        let Some(held) = self.jobs.get_mut(&job) else { return Vec::new() };
        if held.state != HeldState::ReadingBack {
            return Vec::new();
        }
        match read {
            RecordRead::Open { seq, past } if seq == held.open_seq => self.go_on(job, past, now_ms),
            RecordRead::Open { .. } | RecordRead::Ended(_) => self.drop_job(job),
            RecordRead::Missing => self.die(
                job,
                "it has no record in RESULTS: submit jobs with `faultline submit` or the submission protocol".into(),
                String::new(),
            ),
            RecordRead::Failed(_) => {
                let ack_subject = held.ack_subject.clone();
                held.state = HeldState::Returning { since_ms: now_ms, until_ms: now_ms + 1000 };
                vec![Action::Nak { ack_subject, delay_ms: 1000 }]
            }
        }
    }

    /// A job that was delivered before is open: it waits for room, or for its retry, or has used up its retries.
    fn go_on(&mut self, job: JobId, past: Past, now_ms: u64) -> Vec<Action> {
        let Some(held) = self.jobs.get_mut(&job) else { return Vec::new() };
        held.failures = held.failures.max(past.failures);
        held.requeues = held.requeues.max(past.requeues);
        if past.history.len() > held.history.len() {
            held.history = past.history;
        }
        if past.no_retry || held.failures > held.spec.max_retries {
            let last_error = held.history.last().map(|row| row.detail.clone()).unwrap_or_default();
            let reason = if past.no_retry {
                "failed in a way that no retry helps".to_owned()
            } else {
                format!("failed {} times, {} retries were allowed", held.failures, held.spec.max_retries)
            };
            return self.die(job, reason, last_error);
        }
        // Handed back early, by a new leader: the pause before its retry still holds.
        let pause_ms = past.retry_at_ms.saturating_sub(now_ms).min(MAX_PAUSE_MS);
        if pause_ms > 0 {
            held.state = HeldState::Returning { since_ms: now_ms, until_ms: now_ms + pause_ms };
            return vec![Action::Nak { ack_subject: held.ack_subject.clone(), delay_ms: pause_ms }];
        }
        self.wait(job, now_ms);
        Vec::new()
    }

    /// The job has ended: its message is a leftover.
    fn drop_job(&mut self, job: JobId) -> Vec<Action> {
        self.jobs.remove(&job).map(|held| Action::Ack { ack_subject: held.ack_subject }).into_iter().collect()
    }

    pub(super) fn die(&mut self, job: JobId, reason: String, last_error: String) -> Vec<Action> {
        self.unqueue(job);
        self.jobs.remove(&job).map(|held| Action::Die { job: Box::new(held), reason, last_error }).into_iter().collect()
    }

    /// A worker says how an attempt ended.
    pub fn on_ended(&mut self, ended: &EndedAttempt, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(held) = self.jobs.get_mut(&ended.job) else { return actions };
        let is_current = matches!(&held.state, HeldState::Running(running) if running.attempt == ended.attempt);
        let job_is_over = matches!(ended.outcome, AttemptOutcome::Committed | AttemptOutcome::Superseded | AttemptOutcome::Cancelled);
        if !is_current {
            // A zombie committed: whatever runs of this job now runs for nothing.
            if ended.outcome == AttemptOutcome::Committed {
                self.kill(ended.job, "another attempt has committed", &mut actions);
                self.forget(ended.job);
            }
            return actions;
        }
        if let HeldState::Running(running) = &held.state {
            self.counters.gpu_time.add(ended.outcome, running.gpu_milli_ms(&held.spec, now_ms));
        }
        if job_is_over {
            self.forget(ended.job);
            return actions;
        }
        let until_ms = now_ms + ended.retry_delay_ms;
        let HeldState::Running(running) = std::mem::replace(&mut held.state, HeldState::Returning { since_ms: now_ms, until_ms }) else {
            return actions;
        };
        self.watchdog.give_up(running.attempt, now_ms);
        push_history(&mut held.history, running.summary(&held.spec, ended.outcome, ended.at_ms, &ended.detail));
        if matches!(ended.outcome, AttemptOutcome::Failed | AttemptOutcome::TimedOut) {
            held.failures += 1;
            self.counters.retried += 1;
        } else {
            held.requeues += 1;
            held.lost_at_ms = Some(now_ms);
            self.counters.requeued += 1;
        }
        if running.delivered_again {
            held.state = HeldState::ReadingBack;
            actions.push(Action::ReadBack { job: ended.job });
        }
        let spec = held.spec.clone();
        self.release(&running, &spec);
        actions
    }

    /// Drops a job from the books, with whatever it holds.
    fn forget(&mut self, job: JobId) {
        self.unqueue(job);
        if let Some(held) = self.jobs.remove(&job)
            && let HeldState::Running(running) = &held.state
        {
            self.release(running, &held.spec);
        }
    }

    /// The job was committed as cancelled; stops what runs of it.
    pub fn on_cancelled(&mut self, job: JobId, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.kill(job, "cancelled", &mut actions);
        if let Some(held) = self.jobs.get(&job) {
            if let HeldState::Running(running) = &held.state {
                self.counters.gpu_time.add(AttemptOutcome::Cancelled, running.gpu_milli_ms(&held.spec, now_ms));
            }
            actions.push(Action::Ack { ack_subject: held.ack_subject.clone() });
        }
        self.forget(job);
        actions
    }

    /// A worker named an attempt that runs, in answer to a new leader's question: it is adopted.
    pub(super) fn adopt(&mut self, running: &RunningAttempt, now_ms: u64, actions: &mut Vec<Action>) {
        let assignment = &running.assignment;
        let id = assignment.spec.id;
        let kill =
            |worker: &str, reason: &str| Action::Kill { worker: worker.to_owned(), attempt: assignment.attempt, reason: reason.to_owned() };
        let Some(node) = self.nodes.get(&assignment.node) else { return };
        let worker = node.spec.worker.clone();
        if node.spec.incarnation != assignment.incarnation {
            return;
        }
        if let Some(HeldState::Running(known)) = self.jobs.get(&id).map(|held| &held.state) {
            if known.attempt != assignment.attempt {
                actions.push(kill(&worker, "another attempt of this job runs"));
            }
            return;
        }
        if !node.has_room_for(&assignment.gpus, &assignment.spec) {
            actions.push(kill(&worker, "its GPU was given to another attempt"));
            return;
        }
        self.forget(id);
        let state = HeldState::Running(RunningState {
            attempt: assignment.attempt,
            node: assignment.node.clone(),
            incarnation: assignment.incarnation,
            gpus: assignment.gpus.clone(),
            epoch: assignment.epoch,
            placed_at_ms: assignment.placed_at_ms,
            seen_at_ms: Some(now_ms),
            progress_permille: 0,
            delivered_again: false,
            why: assignment.why.clone(),
        });
        let held = Held {
            spec: assignment.spec.clone(),
            open_seq: assignment.open_seq,
            ack_subject: assignment.ack_subject.clone(),
            traceparent: assignment.traceparent.clone(),
            failures: assignment.failures,
            requeues: assignment.requeues,
            history: assignment.history.clone(),
            state,
            demand_kind: demand_kind(&assignment.spec),
            progress_sent_ms: now_ms,
            lost_at_ms: None,
        };
        if let Some(node) = self.nodes.get_mut(&assignment.node) {
            node.book(&assignment.gpus, &assignment.spec);
            node.attempts.insert(assignment.attempt, id);
            node.strangers.remove(&assignment.attempt);
        }
        self.jobs.insert(id, held);
        self.check_booked(&assignment.node, &assignment.gpus, actions);
    }
}
