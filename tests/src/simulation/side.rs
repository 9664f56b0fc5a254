//! What a leader does in several steps beside its loop: reads a job's record back, buries a dead job, cancels one, sweeps up an
//! orphan. Each step is one request; every answer may be lost.

use std::rc::Rc;
use std::sync::Arc;

use faultline_engine::job::{AttemptSummary, Commit, JobId, JobState, Priority, TerminalRecord};
use faultline_engine::scheduler::{Held, Past, RecordRead};

use super::message::{Op, Record, Reply};
use super::worker::found_of;
use super::{Bug, ack_seq};

const TRIES: u32 = 5;
const PAUSE_MS: u64 = 200;

/// What a task does next.
pub(super) enum Step {
    Ask(Op),
    Pause(u64),
    Read(JobId, RecordRead),
    /// The job is cancelled; this is still to be said.
    Cancelled(JobId, Vec<Op>),
    Over(Vec<Op>),
}

enum Kind {
    ReadBack { seq: Option<u64> },
    Bury { ack: u64, is_letter_written: bool },
    Cancel { past: (Vec<AttemptSummary>, u32, u32), is_committed: bool },
    Abandon { open_seq: u64, is_orphan: bool },
}

pub(super) struct Side {
    job: JobId,
    kind: Kind,
    tries: u32,
    /// The end that is being committed.
    record: Option<Arc<TerminalRecord>>,
    reads_conflict: bool,
}

impl Side {
    fn new(job: JobId, kind: Kind) -> Self {
        Self { job, kind, tries: 0, record: None, reads_conflict: false }
    }

    pub(super) fn read_back(job: JobId) -> Self {
        Self::new(job, Kind::ReadBack { seq: None })
    }

    pub(super) fn bury(held: Held, reason: String, last_error: String, now_ms: u64) -> Self {
        let kind = Kind::Bury { ack: ack_seq(&held.ack_subject), is_letter_written: false };
        let mut side = Self::new(held.spec.id, kind);
        let mut record = bare_record(held.spec.id, held.open_seq, JobState::Dead, now_ms);
        record.reason = if last_error.is_empty() { reason } else { format!("{reason}: {last_error}") };
        (record.failures, record.requeues, record.history) = (held.failures, held.requeues, held.history);
        side.record = Some(Arc::new(record));
        side
    }

    pub(super) fn cancel(job: JobId, past: (Vec<AttemptSummary>, u32, u32)) -> Self {
        Self::new(job, Kind::Cancel { past, is_committed: false })
    }

    pub(super) fn abandon(job: JobId, open_seq: u64) -> Self {
        Self::new(job, Kind::Abandon { open_seq, is_orphan: false })
    }

    /// The first step, or the next one after a pause.
    pub(super) fn resume(&mut self) -> Step {
        let job = self.job;
        match &self.kind {
            Kind::ReadBack { .. } => Step::Ask(Op::GetRecord { job }),
            Kind::Bury { is_letter_written: false, .. } => Step::Ask(Op::WriteLetter),
            Kind::Bury { .. } => self.commit(),
            Kind::Cancel { .. } => Step::Ask(Op::GetRecord { job }),
            Kind::Abandon { .. } => Step::Ask(Op::IsQueued { job }),
        }
    }

    fn commit(&self) -> Step {
        match &self.record {
            Some(record) => Step::Ask(Op::Commit { record: Arc::clone(record), expected: Some(record.open_seq) }),
            None => Step::Over(Vec::new()),
        }
    }

    pub(super) fn on_answer(&mut self, reply: Option<Reply>, now_ms: u64, bug: Option<Bug>) -> Step {
        let is_committing = self.record.is_some() && !matches!(self.kind, Kind::Bury { is_letter_written: false, .. });
        if is_committing && !matches!(self.kind, Kind::Cancel { is_committed: true, .. }) {
            return self.on_commit_answer(reply, bug);
        }
        match &mut self.kind {
            Kind::ReadBack { seq } => {
                let read = match (reply, *seq) {
                    (Some(Reply::Record(Some((found, Record::Open)))), _) => {
                        *seq = Some(found);
                        return Step::Ask(Op::GetPast { job: self.job });
                    }
                    (Some(Reply::Record(Some((_, Record::Ended(record))))), _) => RecordRead::Ended(record.state),
                    (Some(Reply::Record(None)), _) => RecordRead::Missing,
                    (Some(Reply::Past(past)), Some(seq)) => RecordRead::Open { seq, past: (*past).clone() },
                    _ => RecordRead::Failed("no answer".into()),
                };
                Step::Read(self.job, read)
            }
            // Not written: the message stays, comes again, and is tried again.
            Kind::Bury { .. } if reply.is_none() => Step::Over(Vec::new()),
            Kind::Bury { is_letter_written, .. } => {
                *is_letter_written = true;
                self.commit()
            }
            Kind::Cancel { is_committed: true, past } => {
                let past = Past { failures: past.1, requeues: past.2, history: past.0.clone(), ..Past::default() };
                Step::Cancelled(self.job, vec![Op::WriteEvent { job: self.job, past: Rc::new(past) }])
            }
            Kind::Cancel { past, .. } => {
                let Some(Reply::Record(Some((seq, Record::Open)))) = reply else { return Step::Over(Vec::new()) };
                let mut record = bare_record(self.job, seq, JobState::Cancelled, now_ms);
                (record.history, record.failures, record.requeues) = past.clone();
                self.record = Some(Arc::new(record));
                self.commit()
            }
            Kind::Abandon { open_seq, is_orphan } => match reply {
                Some(Reply::Flag(false)) => {
                    *is_orphan = true;
                    Step::Ask(Op::GetRecord { job: self.job })
                }
                Some(Reply::Record(Some((seq, Record::Open)))) if *is_orphan && seq == *open_seq => {
                    self.record = Some(Arc::new(bare_record(self.job, seq, JobState::Abandoned, now_ms)));
                    self.commit()
                }
                _ => Step::Over(Vec::new()),
            },
        }
    }

    fn on_commit_answer(&mut self, reply: Option<Reply>, bug: Option<Bug>) -> Step {
        let Some(record) = &self.record else { return Step::Over(Vec::new()) };
        let outcome = match reply {
            Some(Reply::Ok(_)) => Some(Commit::Committed),
            Some(Reply::Conflict) if bug == Some(Bug::NoReadBackOfConflict) => Some(Commit::TooLate(None)),
            Some(Reply::Conflict) => {
                self.reads_conflict = true;
                return Step::Ask(Op::GetRecord { job: self.job });
            }
            Some(Reply::Record(found)) if std::mem::take(&mut self.reads_conflict) => record.after_conflict(found_of(&found)),
            _ => None,
        };
        self.tries += 1;
        match (&mut self.kind, outcome) {
            (Kind::Bury { ack, .. }, Some(_)) => Step::Over(vec![Op::Ack { seq: *ack }]),
            (Kind::Bury { .. }, None) if self.tries < TRIES => Step::Pause(PAUSE_MS),
            (Kind::Cancel { is_committed, .. }, Some(Commit::Committed)) => {
                *is_committed = true;
                Step::Ask(Op::Purge { job: self.job })
            }
            (Kind::Cancel { .. }, Some(Commit::TooLate(_))) if self.tries < TRIES => {
                self.record = None;
                Step::Ask(Op::GetRecord { job: self.job })
            }
            _ => Step::Over(Vec::new()),
        }
    }
}

/// A terminal record that says no more than an open marker could.
fn bare_record(job: JobId, open_seq: u64, state: JobState, ended_at_ms: u64) -> TerminalRecord {
    TerminalRecord {
        job,
        name: String::new(),
        kind: String::new(),
        priority: Priority::Normal,
        state,
        attempt: None,
        open_seq,
        submitted_at_ms: job.unix_ms(),
        ended_at_ms,
        result: String::new(),
        reason: String::new(),
        failures: 0,
        requeues: 0,
        history: Vec::new(),
    }
}
