//! The logic of `audit`: what was read is told to it, it says what does not agree. Nothing is read or printed here.
//!
//! RESULTS accepted one message for each submission and one for each end, and every message has its own sequence. So
//! between the sequence that the ledger has reached and the end of the stream each sequence must be an open marker, an
//! end, or a marker that an end we see has replaced; a sequence that is none of these is an end that nobody counted.
//! The cluster moves while it is looked at: what does not agree must not agree again on the next look to count.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::job::JobId;
use faultline_protocol::messages::{JobState, LedgerSnapshot};
use faultline_protocol::streams::{ACK_WAIT, ORPHAN_AFTER};
use faultline_runtime::clock::ms;
use serde::Serialize;

use crate::output::{count, plural};

/// A submitter may die between the open marker and the job. What the sweeper may take on top of the age from which it looks: a change of the
/// leader, and its rest.
const SWEEP_SLACK_MS: u64 = 60_000;
/// What the server may take on top of the ack timeout until an ended job is delivered, found ended and acknowledged.
const ACK_SLACK_MS: u64 = 15_000;
/// Jobs named under a failed check.
const NAMED: usize = 10;

/// One message of RESULTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub job: JobId,
    pub seq: u64,
    pub stored_at_ms: u64,
    pub state: RecordState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordState {
    Open,
    Ended {
        state: JobState,
        /// From the body, which is read only where the ledger has not been.
        open_seq: Option<u64>,
    },
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    Equation,
    LedgerAhead,
    Duplicates,
    EndedTwice(JobId),
    Missed,
    Gap,
    Unreadable(String),
    Orphan(JobId),
    NoRecord(JobId),
    NotAcknowledged(JobId),
    NoJob(String),
    Violation(String),
}

/// RESULTS from its first message to its last, on top of the ledger's snapshot.
#[derive(Debug, Default)]
pub(crate) struct Results {
    ledger: LedgerSnapshot,
    last_seq: u64,
    records: BTreeMap<JobId, Record>,
    /// Sequences behind the ledger's that were open markers, whether or not they still are.
    openings: BTreeSet<u64>,
    /// Those of them that an end has replaced.
    closed: BTreeSet<u64>,
    ends: BTreeMap<&'static str, u64>,
    ended_twice: BTreeSet<JobId>,
    unreadable: BTreeSet<String>,
}

impl Results {
    /// `last_seq` is the stream's, read before its first message.
    pub(crate) fn new(ledger: LedgerSnapshot, last_seq: u64) -> Self {
        Self { ledger, last_seq, ..Self::default() }
    }

    /// Takes the messages in the order of their sequences.
    pub(crate) fn add(&mut self, record: Record) {
        let counts = record.seq > self.ledger.through_seq;
        self.last_seq = self.last_seq.max(record.seq);
        match record.state {
            RecordState::Open => {
                if counts {
                    self.openings.insert(record.seq);
                }
            }
            RecordState::Ended { state, open_seq } => {
                if counts {
                    *self.ends.entry(state.as_str()).or_default() += 1;
                }
                if let Some(open_seq) = open_seq.filter(|&seq| seq > self.ledger.through_seq) {
                    self.openings.insert(open_seq);
                    if !self.closed.insert(open_seq) {
                        self.ended_twice.insert(record.job);
                    }
                }
            }
        }
        let before = self.records.insert(record.job, record);
        if let Some(Record { state: RecordState::Ended { .. }, .. }) = before {
            self.ended_twice.insert(record.job);
        }
    }

    /// A message whose subject, header or body says nothing.
    pub(crate) fn add_unreadable(&mut self, seq: u64, what: &str) {
        self.last_seq = self.last_seq.max(seq);
        self.unreadable.insert(format!("sequence {seq}: {what}"));
    }

    fn ends(&self, state: JobState) -> u64 {
        self.ends.get(state.as_str()).copied().unwrap_or(0)
    }

    fn figures(&self) -> Figures {
        let beyond = self.last_seq.saturating_sub(self.ledger.through_seq);
        let accounted = self.openings.len() as u64 + self.ends.values().sum::<u64>() + self.unreadable.len() as u64;
        Figures {
            submitted: self.ledger.submitted + self.openings.len() as u64,
            committed: self.ledger.committed + self.ends(JobState::Committed),
            dead: self.ledger.dead + self.ends(JobState::Dead),
            cancelled: self.ledger.cancelled + self.ends(JobState::Cancelled),
            abandoned: self.ledger.abandoned + self.ends(JobState::Abandoned),
            open: self.records.values().filter(|record| record.state == RecordState::Open).count() as u64,
            duplicates: self.ledger.duplicates + self.ended_twice.len() as u64,
            missed: self.ledger.missed,
            gaps: beyond.saturating_sub(accounted),
            ledger_through: self.ledger.through_seq,
            last_seq: self.last_seq,
            ..Figures::default()
        }
    }
}

/// The job messages that JOBS holds.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub jobs: BTreeSet<JobId>,
    /// Subjects that name no job.
    pub strange: BTreeSet<String>,
}

/// All the numbers of one look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Figures {
    pub submitted: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// Open markers in RESULTS.
    pub open: u64,
    pub duplicates: u64,
    pub missed: u64,
    /// Sequences that nothing explains.
    pub gaps: u64,
    /// Jobs in JOBS.
    pub queued: u64,
    /// Open markers without a job, too young to be a loss.
    pub young: u64,
    /// Ended jobs whose message waits for its acknowledgement.
    pub waiting_for_ack: u64,
    /// Broken invariants that schedulers have reported.
    pub violations: u64,
    pub ledger_through: u64,
    pub last_seq: u64,
}

impl Figures {
    fn ended(&self) -> u64 {
        self.committed + self.dead + self.cancelled + self.abandoned
    }
}

/// What one look found.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub figures: Figures,
    pub problems: BTreeSet<Problem>,
}

/// Compares RESULTS with JOBS, which was read after it.
pub(crate) fn look(results: &Results, queue: &Queue, now_ms: u64) -> Look {
    let mut figures = results.figures();
    figures.queued = queue.jobs.len() as u64;
    let mut problems = BTreeSet::new();
    if results.ledger.through_seq > results.last_seq {
        problems.insert(Problem::LedgerAhead);
    }
    if figures.submitted != figures.ended() + figures.missed + figures.open {
        problems.insert(Problem::Equation);
    }
    if results.ledger.duplicates > 0 {
        problems.insert(Problem::Duplicates);
    }
    if figures.missed > 0 {
        problems.insert(Problem::Missed);
    }
    if figures.gaps > 0 {
        problems.insert(Problem::Gap);
    }
    problems.extend(results.ended_twice.iter().map(|&job| Problem::EndedTwice(job)));
    problems.extend(results.unreadable.iter().cloned().map(Problem::Unreadable));
    problems.extend(queue.strange.iter().cloned().map(Problem::NoJob));
    let young_ms = ms(ORPHAN_AFTER).saturating_add(SWEEP_SLACK_MS);
    for record in results.records.values() {
        if record.state == RecordState::Open && !queue.jobs.contains(&record.job) {
            if now_ms.saturating_sub(record.stored_at_ms) < young_ms {
                figures.young += 1;
            } else {
                problems.insert(Problem::Orphan(record.job));
            }
        }
    }
    let patience_ms = ms(ACK_WAIT).saturating_add(ACK_SLACK_MS);
    for &job in &queue.jobs {
        match results.records.get(&job) {
            Some(Record { state: RecordState::Open, .. }) => {}
            Some(record) => {
                figures.waiting_for_ack += 1;
                if now_ms.saturating_sub(record.stored_at_ms) > patience_ms {
                    problems.insert(Problem::NotAcknowledged(job));
                }
            }
            None => {
                problems.insert(Problem::NoRecord(job));
            }
        }
    }
    Look { figures, problems }
}

/// What several looks agree on.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub looks: u64,
    figures: Figures,
    /// Found by every look so far.
    lasting: BTreeSet<Problem>,
    /// Seen once is enough: an end that replaced an end is overwritten by the next look.
    facts: BTreeSet<Problem>,
    /// Sequence of each end seen, by job: another one on a later look is a second end.
    ends: BTreeMap<JobId, u64>,
}

impl Verdict {
    pub(crate) fn add(&mut self, results: &Results, look: Look) {
        for record in results.records.values() {
            if let RecordState::Ended { .. } = record.state
                && self.ends.insert(record.job, record.seq).is_some_and(|before| before != record.seq)
            {
                self.facts.insert(Problem::EndedTwice(record.job));
            }
        }
        self.facts.extend(look.problems.iter().filter(|problem| matches!(problem, Problem::EndedTwice(_))).cloned());
        self.lasting = if self.looks == 0 { look.problems } else { self.lasting.intersection(&look.problems).cloned().collect() };
        self.figures = look.figures;
        self.looks += 1;
    }

    /// What the schedulers have found broken; once is enough.
    pub(crate) fn add_violations(&mut self, violations: impl IntoIterator<Item = String>) {
        self.facts.extend(violations.into_iter().map(Problem::Violation));
        self.figures.violations = self.facts.iter().filter(|fact| matches!(fact, Problem::Violation(_))).count() as u64;
    }

    /// Whether another look could change the verdict.
    pub(crate) fn may_change(&self) -> bool {
        self.lasting.iter().any(|problem| !matches!(problem, Problem::EndedTwice(_) | Problem::Duplicates | Problem::Missed))
    }

    pub(crate) fn report(&self) -> AuditReport {
        let problems: BTreeSet<&Problem> = self.lasting.union(&self.facts).collect();
        let figures = &self.figures;
        let checks = vec![
            equation(figures, &problems),
            no_job_twice(figures, &problems),
            nothing_missed(figures, &problems),
            open_jobs_are_queued(figures, &problems),
            queued_jobs_have_records(figures, &problems),
            no_invariant_broken(figures, &problems),
        ];
        AuditReport { ok: problems.is_empty(), looks: self.looks, figures: self.figures.clone(), checks }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub check: &'static str,
    pub ok: bool,
    pub figures: String,
    /// The first few that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct AuditReport {
    pub ok: bool,
    /// How often everything was read; more than once when something did not agree at first.
    pub looks: u64,
    #[serde(flatten)]
    pub figures: Figures,
    pub checks: Vec<Check>,
}

impl Check {
    fn new(check: &'static str, figures: String, problems: &BTreeSet<&Problem>, mut wrong: impl FnMut(&Problem) -> Option<String>) -> Self {
        let mut all: Vec<String> = problems.iter().filter_map(|problem| wrong(problem)).collect();
        let ok = all.is_empty();
        if all.len() > NAMED {
            let more = all.len() - NAMED;
            all.truncate(NAMED);
            all.push(format!("and {} more", count(more as u64)));
        }
        Self { check, ok, figures, wrong: all }
    }
}

fn equation(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let text = format!(
        "{} = {} committed + {} dead + {} cancelled + {} abandoned + {} open",
        count(figures.submitted),
        count(figures.committed),
        count(figures.dead),
        count(figures.cancelled),
        count(figures.abandoned),
        count(figures.open)
    );
    Check::new("submitted = ended + open", text, problems, |problem| match problem {
        Problem::Equation => {
            let right = figures.ended() + figures.missed + figures.open;
            Some(format!("the sides differ by {}", count(figures.submitted.abs_diff(right))))
        }
        Problem::LedgerAhead => Some("the ledger has counted more messages than RESULTS ever held: was the stream made anew?".to_owned()),
        _ => None,
    })
}

fn no_job_twice(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    Check::new("no job ended twice", plural(figures.duplicates, "second end"), problems, |problem| match problem {
        Problem::Duplicates => Some("the ledger counted ends of jobs that had already ended".to_owned()),
        Problem::EndedTwice(job) => Some(job.to_string()),
        _ => None,
    })
}

fn nothing_missed(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let through = format!("ledger up to {} of {}", count(figures.ledger_through), count(figures.last_seq));
    let text = format!("{} missed, {} unexplained; {through}", count(figures.missed), count(figures.gaps));
    Check::new("every end was counted", text, problems, |problem| match problem {
        Problem::Missed => Some("records expired before the ledger had read them: no scheduler ran for more than ten minutes".to_owned()),
        Problem::Gap => {
            Some("sequences of RESULTS that are neither an opening nor an end: records expired uncounted, or were deleted".to_owned())
        }
        Problem::Unreadable(what) => Some(what.clone()),
        _ => None,
    })
}

fn open_jobs_are_queued(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let young = if figures.young > 0 { format!(", {} being submitted", count(figures.young)) } else { String::new() };
    Check::new("every open job is in JOBS", format!("{} open{young}", count(figures.open)), problems, |problem| match problem {
        Problem::Orphan(job) => Some(format!("{job} is open and in no queue")),
        _ => None,
    })
}

fn queued_jobs_have_records(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let waiting = if figures.waiting_for_ack > 0 {
        format!(", {} ended and not yet acknowledged", count(figures.waiting_for_ack))
    } else {
        String::new()
    };
    Check::new("every job in JOBS is open", format!("{} in JOBS{waiting}", count(figures.queued)), problems, |problem| match problem {
        Problem::NoRecord(job) => Some(format!("{job} has no record in RESULTS")),
        Problem::NotAcknowledged(job) => Some(format!("{job} ended long ago and is still queued")),
        Problem::NoJob(subject) => Some(format!("{subject} names no job")),
        _ => None,
    })
}

fn no_invariant_broken(figures: &Figures, problems: &BTreeSet<&Problem>) -> Check {
    let text = format!("{} in the last hour", plural(figures.violations, "violation"));
    Check::new("the schedulers' invariants held", text, problems, |problem| match problem {
        Problem::Violation(what) => Some(what.clone()),
        _ => None,
    })
}

#[cfg(test)]
#[path = "audit_check_tests.rs"]
mod tests;
