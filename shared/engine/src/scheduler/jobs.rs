//! What happens to jobs: delivered, read back, ended, cancelled, adopted after a change of leader.

use serde::{Deserialize, Serialize};

use super::accounting::AttemptEnd;
use super::planning::{task_class, turn};
use super::{Action, Held, HeldState, Note, RunningState, Scheduler};
use crate::goodput::LossCause;
use crate::job::{AttemptId, AttemptOutcome, EndedAttempt, JobId, JobSpec, JobState, Path, RunningAttempt, Told};
use crate::words::{agree, plural};

/// A message of JOBS that JetStream handed to the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub spec: JobSpec,
    pub open_seq: u64,
    /// When JetStream stored it, by the server's clock.
    pub stored_at_ms: u64,
    pub ack_subject: String,
    /// Whether JetStream says that it was delivered before. After a crash of the server it may not remember.
    pub redelivered: bool,
}

/// What a job has been through, as its last event tells it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    pub path: Path,
    /// It failed, and waits so long before it is tried again, counted from `written_at_ms`.
    pub retry_delay_ms: u64,
    /// When JetStream stored the event, by the server's clock.
    pub written_at_ms: u64,
    /// It failed in a way that no retry would mend.
    pub no_retry: bool,
}

/// What RESULTS and EVENTS said of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        // A job that waits is found in the order by the time under which it was put there.
        if !matches!(held.state, HeldState::Waiting { .. }) {
            held.stored_at_ms = delivery.stored_at_ms;
        }
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
                let seen = running.seen_at_ms.unwrap_or(running.since_ms);
                if now_ms.saturating_sub(seen) > self.config.recently_seen_ms {
                    self.kill(id, "delivered again", &mut actions);
                    let reason = "no sign of it for so long that JetStream delivered the job again";
                    self.lose(id, reason, LossCause::NodeFault, seen, now_ms, &mut actions);
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
        let held = Held {
            spec: delivery.spec,
            open_seq: delivery.open_seq,
            stored_at_ms: delivery.stored_at_ms,
            ack_subject: delivery.ack_subject,
            path: Path::default(),
            state: HeldState::ReadingBack,
            progress_sent_ms: now_ms,
            lost_at_ms: None,
            has_paused: false,
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
            let class = self.planner.class(&task_class(&held.spec));
            held.state = HeldState::Waiting { since_ms: now_ms, placed_before: self.counters.placed, class };
            if self.planner.turns(class).next().is_none() {
                // Its number may have been another class's.
                self.rejects.get_mut().remove(&class);
            }
            let is_new = self.planner.wait(class, turn(&held.spec, held.stored_at_ms, self.config.aging_ms));
            self.waiting[held.spec.priority as usize] += usize::from(is_new);
            self.may_be_impossible = true;
        }
    }

    /// Takes a job out of the queue, if it waits there.
    pub(super) fn unqueue(&mut self, job: JobId) {
        if let Some(held) = self.jobs.get(&job)
            && let HeldState::Waiting { class, .. } = held.state
            && self.planner.forget(class, turn(&held.spec, held.stored_at_ms, self.config.aging_ms))
        {
            self.waiting[held.spec.priority as usize] -= 1;
        }
    }

    /// The answer to [`Action::ReadBack`].
    pub fn on_record_read(&mut self, job: JobId, read: RecordRead, now_ms: u64) -> Vec<Action> {
        let Some(held) = self.jobs.get_mut(&job) else { return Vec::new() };
        if held.state != HeldState::ReadingBack {
            return Vec::new();
        }
        match read {
            RecordRead::Open { seq, past } if seq == held.open_seq => {
                let mut actions = Vec::new();
                self.go_on(job, past, now_ms, &mut actions);
                actions
            }
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
    fn go_on(&mut self, job: JobId, past: Past, now_ms: u64, actions: &mut Vec<Action>) {
        let cluster_ms = self.cluster_time(now_ms);
        let Some(held) = self.jobs.get_mut(&job) else { return };
        held.path.merge(past.path);
        self.put_untold_into_path(job, now_ms, actions);
        let Some(held) = self.jobs.get_mut(&job) else { return };
        if past.no_retry || held.path.failures > held.spec.max_retries {
            let last_error = held.path.history.last().map(|row| row.detail.clone()).unwrap_or_default();
            let reason = if past.no_retry {
                "failed in a way that no retry helps".to_owned()
            } else {
                let (failures, retries) = (held.path.failures.into(), held.spec.max_retries.into());
                format!("failed {}, {} {} allowed", plural(failures, "time"), plural(retries, "retry"), agree(retries, "was", "were"))
            };
            actions.extend(self.die(job, reason, last_error));
            return;
        }
        // Handed back early, by a new leader: the pause before its retry still holds. Once, and never for longer than the pause itself:
        // two clocks that disagree must not hold a job.
        let pause_ms = past.written_at_ms.saturating_add(past.retry_delay_ms).saturating_sub(cluster_ms).min(past.retry_delay_ms);
        if pause_ms > 0 && !std::mem::replace(&mut held.has_paused, true) {
            held.state = HeldState::Returning { since_ms: now_ms, until_ms: now_ms + pause_ms };
            actions.push(Action::Nak { ack_subject: held.ack_subject.clone(), delay_ms: pause_ms });
            return;
        }
        self.wait(job, now_ms);
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
        let Some(held) = self.jobs.get_mut(&ended.job) else {
            self.untold.keep(ended);
            return actions;
        };
        let is_current = matches!(&held.state, HeldState::Running(running) if running.attempt == ended.attempt);
        let job_is_over = matches!(ended.outcome, AttemptOutcome::Committed | AttemptOutcome::Superseded | AttemptOutcome::Cancelled);
        if !is_current {
            // A zombie committed: whatever runs of this job now runs for nothing.
            if ended.outcome == AttemptOutcome::Committed {
                self.kill(ended.job, "another attempt has committed", &mut actions);
                self.forget(ended.job, AttemptEnd::now(LossCause::Duplicate, now_ms), now_ms);
            } else {
                let comes_back = matches!(held.state, HeldState::ReadingBack | HeldState::Returning { .. });
                self.untold.keep(ended);
                // What comes back is read back first: its last event may tell of earlier attempts.
                if !comes_back {
                    self.put_untold_into_path(ended.job, now_ms, &mut actions);
                }
            }
            return actions;
        }
        if let HeldState::Running(running) = &held.state {
            self.counters.gpu_time.add(ended.outcome, running.gpu_milli_ms(&held.spec, now_ms));
        }
        let end = AttemptEnd::told(ended, now_ms);
        if job_is_over {
            self.forget(ended.job, end, now_ms);
            return actions;
        }
        let until_ms = now_ms + ended.retry_delay_ms;
        let HeldState::Running(mut running) = std::mem::replace(&mut held.state, HeldState::Returning { since_ms: now_ms, until_ms })
        else {
            return actions;
        };
        self.watchdog.give_up(running.attempt, now_ms);
        let row = running.summary(&held.spec, ended.outcome, now_ms, &ended.detail);
        // JetStream keeps it until its retry.
        held.has_paused = ended.retry_delay_ms > 0;
        if matches!(ended.outcome, AttemptOutcome::Failed | AttemptOutcome::TimedOut) {
            held.path.fail(row);
            self.counters.retried += 1;
        } else {
            held.path.requeue(row);
            held.lost_at_ms = Some(now_ms);
            self.counters.requeued += 1;
        }
        if ended.told != Told::ByWorker {
            actions.push(Action::Note(Note::Lost {
                job: ended.job,
                attempt: running.attempt,
                node: running.node.clone(),
                reason: ended.detail.clone(),
                path: held.path.clone(),
            }));
        }
        // Its worker could not hand the message back.
        if ended.told == Told::Unanswered && !running.delivered_again {
            actions.push(Action::Nak { ack_subject: held.ack_subject.clone(), delay_ms: 0 });
        }
        if ended.told == Told::Refused
            && let Some(node) = self.nodes.get_mut(&running.node).filter(|node| node.spec.incarnation == running.incarnation)
        {
            node.refusals.on_refused(now_ms);
        }
        if running.delivered_again {
            held.state = HeldState::ReadingBack;
            actions.push(Action::ReadBack { job: ended.job });
        }
        let spec = held.spec.clone();
        self.release(&mut running, &spec, end, now_ms);
        self.review(&running.node, now_ms);
        actions
    }

    /// No message can carry the assignment of this attempt: its job is given up, alone.
    pub fn on_unsendable(&mut self, job: JobId, attempt: AttemptId, reason: String, now_ms: u64) -> Vec<Action> {
        let Some(held) = self.jobs.get(&job) else { return Vec::new() };
        let HeldState::Running(running) = &held.state else { return Vec::new() };
        if running.attempt != attempt {
            return Vec::new();
        }
        let (mut running, spec) = (running.clone(), held.spec.clone());
        self.release(&mut running, &spec, AttemptEnd::now(LossCause::SchedulerError, now_ms), now_ms);
        self.die(job, reason, String::new())
    }

    /// Drops a job from the books, with whatever it holds.
    fn forget(&mut self, job: JobId, end: AttemptEnd, now_ms: u64) {
        self.unqueue(job);
        if let Some(mut held) = self.jobs.remove(&job)
            && let HeldState::Running(running) = &mut held.state
        {
            self.release(running, &held.spec, end, now_ms);
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
        self.forget(job, AttemptEnd::now(LossCause::Cancel, now_ms), now_ms);
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
        let (node, number, gpus) = (node.id, node.number, assignment.gpus.iter().map(|gpu| usize::from(*gpu)));
        self.unqueue(id);
        let placement = self.planner.adopt(node, &task_class(&assignment.spec), gpus);
        let state = HeldState::Running(RunningState {
            attempt: assignment.attempt,
            node: assignment.node.clone(),
            incarnation: assignment.incarnation,
            gpus: assignment.gpus.clone(),
            epoch: assignment.epoch,
            placed_at_ms: assignment.placed_at_ms,
            since_ms: now_ms.saturating_sub(running.elapsed_ms.unwrap_or(0)),
            seen_at_ms: Some(now_ms),
            progress_permille: 0,
            delivered_again: false,
            why: assignment.why.clone(),
            choice: assignment.choice.clone(),
            placement,
            account: Box::new(self.goodput.adopt(number, &assignment.spec, now_ms)),
            before_term_ms: running.elapsed_ms.unwrap_or(0).saturating_sub(now_ms.saturating_sub(self.elected_at_ms)),
        });
        let held = Held {
            spec: assignment.spec.clone(),
            open_seq: assignment.open_seq,
            stored_at_ms: 0,
            ack_subject: assignment.ack_subject.clone(),
            path: assignment.path(),
            state,
            progress_sent_ms: now_ms,
            lost_at_ms: None,
            has_paused: false,
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
