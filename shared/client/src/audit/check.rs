//! The logic of `audit`: what was read is told to it, it says what does not agree; `report` puts that into words. Nothing is read here.
//!
//! RESULTS accepted one message for each submission and one for each end, and every message has its own sequence. So
//! between the sequence that the ledger has reached and the end of the stream each sequence must be an open marker, an
//! end, or a marker that an end we see has replaced; a sequence that is none of these is an end that was not counted.
//! The cluster moves while it is looked at: what does not agree must not agree again on the next look to count.

use std::collections::{BTreeMap, BTreeSet};

use faultline_engine::job::JobId;
use faultline_engine::ledger::stores::{Setback, losses};
use faultline_engine::ledger::{self, LedgerState, Took};
use faultline_protocol::messages::JobState;
use faultline_protocol::streams::{ACK_WAIT, MIN_TERMINAL_TTL, ORPHAN_AFTER};
use faultline_runtime::clock::ms;
use faultline_runtime::sight::Look as StreamLook;
use serde::Serialize;

/// A submitter may die between the open marker and the job. What the sweeper may take on top of the age from which it looks: a change of the
/// leader, and its rest.
const SWEEP_SLACK_MS: u64 = 60_000;
/// What the server may take on top of the ack timeout until an ended job is delivered, found ended and acknowledged.
const ACK_SLACK_MS: u64 = 15_000;

/// One message of RESULTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub job: JobId,
    pub seq: u64,
    pub stored_at_ms: u64,
    pub state: EntryState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    Open,
    Ended {
        state: JobState,
        /// From the body, which is read only where the ledger has not been.
        open_seq: Option<u64>,
        took: Took,
    },
}

/// What does not agree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Problem {
    Equation,
    /// Jobs are in no sum, or in two, because RESULTS went back.
    Restated,
    StoreWentBack(String),
    Duplicates,
    EndedTwice(JobId),
    Gap,
    Unreadable(String),
    Orphan(JobId),
    Lost(JobId),
    MaybeLost(JobId),
    Vanished,
    NoRecord(JobId),
    NotAcknowledged(JobId),
    NoJob(String),
    Violation(String),
}

/// RESULTS from its first message to its last, on top of what the ledger has stored.
#[derive(Debug, Default)]
pub(super) struct Results {
    ledger: LedgerState,
    /// RESULTS before its first message was read.
    began: StreamLook,
    /// What RESULTS has lost since the ledger looked at it, if anything.
    setback: Option<Setback>,
    last_seq: u64,
    records: BTreeMap<JobId, Entry>,
    /// Sequences behind the ledger's that were open markers, whether or not they still are.
    openings: BTreeSet<u64>,
    /// Those of them that an end has replaced.
    closed: BTreeSet<u64>,
    ends: BTreeMap<&'static str, u64>,
    /// Of the ends that the ledger has not counted, those that took a message out of JOBS.
    with_message: u64,
    /// Records that the ledger has not counted and that only close an opening that came back.
    closing: u64,
    /// And those of lost jobs.
    lost: u64,
    ended_twice: BTreeSet<JobId>,
    unreadable: BTreeSet<String>,
}

impl Results {
    /// What no leader has noticed yet of a setback is counted as the leader will count it.
    pub(super) fn new(mut ledger: LedgerState, began: StreamLook, is_rewritten: bool) -> Self {
        let setback = ledger.on_results(began.sight, began.replicas, is_rewritten, began.now_ms);
        Self { ledger, began, setback, last_seq: began.sight.last_seq, ..Self::default() }
    }

    /// How far the ledger has counted what RESULTS holds.
    pub(super) fn through_seq(&self) -> u64 {
        self.ledger.counts.through_seq
    }

    /// Takes the messages in the order of their sequences.
    pub(super) fn add(&mut self, record: Entry) {
        let counts = record.seq > self.ledger.counts.through_seq;
        self.last_seq = self.last_seq.max(record.seq);
        if let EntryState::Ended { took: Took::Returned, .. } = record.state {
            self.closing += u64::from(counts);
            self.records.remove(&record.job);
            return;
        }
        match record.state {
            EntryState::Open => {
                if counts {
                    self.openings.insert(record.seq);
                }
            }
            EntryState::Ended { state, open_seq, took } => {
                if counts {
                    *self.ends.entry(state.as_str()).or_default() += 1;
                    self.with_message += u64::from(took == Took::Message);
                    self.lost += u64::from(took == Took::Vanished);
                }
                if let Some(open_seq) = open_seq.filter(|&seq| seq > self.ledger.counts.through_seq) {
                    self.openings.insert(open_seq);
                    if !self.closed.insert(open_seq) {
                        self.ended_twice.insert(record.job);
                    }
                }
            }
        }
        let before = self.records.insert(record.job, record);
        if let Some(Entry { state: EntryState::Ended { .. }, .. }) = before {
            self.ended_twice.insert(record.job);
        }
    }

    /// A message whose subject, header or body says nothing.
    pub(super) fn add_unreadable(&mut self, seq: u64, what: &str) {
        self.last_seq = self.last_seq.max(seq);
        self.unreadable.insert(format!("sequence {seq}: {what}"));
    }

    fn ends(&self, state: JobState) -> u64 {
        self.ends.get(state.as_str()).copied().unwrap_or(0)
    }

    fn figures(&self) -> Figures {
        let ledger = &self.ledger.counts;
        let beyond = self.last_seq.saturating_sub(ledger.through_seq);
        let accounted = self.openings.len() as u64 + self.ends.values().sum::<u64>() + self.unreadable.len() as u64 + self.closing;
        let mut figures = Figures {
            submitted: ledger.submitted + self.openings.len() as u64,
            committed: ledger.committed + self.ends(JobState::Committed),
            dead: ledger.dead + self.ends(JobState::Dead),
            cancelled: ledger.cancelled + self.ends(JobState::Cancelled),
            abandoned: ledger.abandoned + self.ends(JobState::Abandoned),
            open: self.records.values().filter(|record| record.state == EntryState::Open).count() as u64,
            duplicates: ledger.duplicates + self.ended_twice.len() as u64,
            missed: ledger.missed,
            ended_lost: self.ledger.lost + self.lost,
            lost_with_store: self.ledger.lost_with_store(),
            brought_back: self.ledger.brought_back(),
            forgotten: self.ledger.forgotten,
            gaps: beyond.saturating_sub(accounted),
            ledger_through: ledger.through_seq,
            last_seq: self.last_seq,
            ..Figures::default()
        };
        if self.setback.is_some() {
            figures.restate();
        } else if self.may_have_missed() {
            // As the leader does when it is back: an opening and an end for each of those whose records expired uncounted.
            figures.submitted += figures.gaps;
            figures.gaps = 0;
            let uncounted = u64::try_from(figures.imbalance() / 2).unwrap_or(0);
            figures.submitted -= uncounted;
            figures.missed += uncounted;
        }
        figures
    }

    /// Whether records may have expired that the ledger has not counted: it was away for longer than they live.
    fn may_have_missed(&self) -> bool {
        self.began.now_ms.saturating_sub(self.ledger.counts.at_ms) > ms(MIN_TERMINAL_TTL)
    }

    /// Open jobs that had ended before: NATS was killed, and brought the openings back whose ends have expired. The sum says how many there
    /// are; they are the oldest of those without a message. The leader closes them.
    fn returned(&self, figures: &Figures, queue: &Queue, now_ms: u64) -> BTreeSet<JobId> {
        let excess = ledger::returned(figures.imbalance(), figures.duplicates);
        let may_have_ended = |record: &&Entry| {
            let is_old = now_ms.saturating_sub(record.stored_at_ms) > ms(MIN_TERMINAL_TTL);
            record.state == EntryState::Open && record.seq <= self.ledger.counts.through_seq && is_old && !queue.jobs.contains(&record.job)
        };
        let mut candidates: Vec<&Entry> = self.records.values().filter(may_have_ended).collect();
        candidates.sort_by_key(|record| record.seq);
        candidates.iter().take(usize::try_from(excess).unwrap_or(usize::MAX)).map(|record| record.job).collect()
    }
}

/// The job messages that JOBS holds.
#[derive(Debug, Default)]
pub struct Queue {
    /// JOBS before its messages were listed.
    pub began: StreamLook,
    /// And when everything else had been read.
    pub ended: StreamLook,
    pub jobs: BTreeSet<JobId>,
    /// Subjects that name no job.
    pub strange: BTreeSet<String>,
    /// Since when the scheduler leads that answers; without one, what has ended waits for the next one to be acknowledged.
    pub led_since_ms: Option<u64>,
}

/// All the numbers of one look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    pub submitted: u64,
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    /// With those that are lost.
    pub abandoned: u64,
    /// Of those: jobs that were queued and whose message left JOBS.
    #[serde(skip)]
    pub ended_lost: u64,
    /// Open markers in RESULTS.
    pub open: u64,
    /// Beside those: openings of jobs that had ended, which NATS brought back when it was killed.
    #[serde(skip_serializing_if = "faultline_engine::unset::is_default")]
    pub returned: u64,
    /// Jobs that were submitted and whose record RESULTS lost before they had ended, less those that it brought back.
    #[serde(skip_serializing_if = "faultline_engine::unset::is_default")]
    pub lost_with_store: u64,
    /// Jobs that had ended and that RESULTS, when it lost their ends, opened again, less those whose record it lost.
    #[serde(skip_serializing_if = "faultline_engine::unset::is_default")]
    pub brought_back: u64,
    /// Messages that RESULTS lost before they were counted.
    #[serde(skip_serializing_if = "faultline_engine::unset::is_default")]
    pub forgotten: u64,
    pub duplicates: u64,
    /// Jobs that ended and whose records expired before they were counted.
    pub missed: u64,
    /// Sequences that nothing explains.
    pub gaps: u64,
    /// Jobs in JOBS.
    pub queued: u64,
    /// Messages that left JOBS before their jobs had ended.
    pub vanished: u64,
    /// Open jobs without a message, while more messages have left JOBS than ended jobs account for.
    #[serde(skip)]
    pub open_lost: u64,
    /// Open markers without a job, too young to be a loss.
    pub young: u64,
    /// Old ones: JOBS never had a message for them, and a leader will abandon them.
    pub never_queued: u64,
    /// Ended jobs whose message waits for its acknowledgement.
    pub waiting_for_ack: u64,
    /// Without one, open jobs wait; nothing is lost by that.
    pub scheduler_answers: bool,
    /// Broken invariants that schedulers have reported.
    pub violations: u64,
    pub ledger_through: u64,
    pub last_seq: u64,
}

impl Figures {
    fn ended(&self) -> u64 {
        self.committed + self.dead + self.cancelled + self.abandoned
    }

    /// The difference between the two sides of the equation.
    pub(super) fn imbalance(&self) -> i64 {
        let left = 0_i64.saturating_add_unsigned(self.submitted + self.brought_back);
        left.saturating_sub_unsigned(self.ended() + self.missed + self.open + self.lost_with_store)
    }

    /// What a setback has done to the sums is counted under its own names. Second ends stay a difference.
    fn restate(&mut self) {
        let by = self.imbalance().saturating_add_unsigned(self.duplicates);
        let net = by.saturating_add_unsigned(self.lost_with_store).saturating_sub_unsigned(self.brought_back);
        (self.lost_with_store, self.brought_back) = (u64::try_from(net).unwrap_or(0), u64::try_from(-net).unwrap_or(0));
    }

    fn is_restated(&self) -> bool {
        self.lost_with_store + self.brought_back + self.forgotten > 0
    }
}

/// What one look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub figures: Figures,
    pub problems: BTreeSet<Problem>,
    /// Problems that another look cannot make undone.
    pub facts: BTreeSet<Problem>,
}

/// Compares RESULTS with JOBS, which was read before it.
pub(super) fn look(results: &Results, queue: &Queue, now_ms: u64) -> Look {
    let mut figures = results.figures();
    figures.queued = queue.jobs.len() as u64;
    figures.scheduler_answers = queue.led_since_ms.is_some();
    let (mut problems, mut facts) = (BTreeSet::new(), BTreeSet::new());
    let returned = results.returned(&figures, queue, now_ms);
    figures.returned = returned.len() as u64;
    figures.open -= figures.returned;
    if let Some(setback) = results.setback.as_ref().filter(|setback| setback.is_loss()) {
        problems.insert(Problem::StoreWentBack(setback.to_string()));
    }
    if figures.imbalance() != 0 {
        problems.insert(Problem::Equation);
    }
    if figures.gaps > 0 {
        problems.insert(Problem::Gap);
    }
    if figures.is_restated() {
        // What a leader has stored, another look cannot make undone.
        let found = if results.setback.is_some() { &mut problems } else { &mut facts };
        found.insert(Problem::Restated);
    }
    if results.ledger.counts.duplicates > 0 {
        facts.insert(Problem::Duplicates);
    }
    facts.extend(losses(&results.ledger.setbacks).into_iter().map(Problem::StoreWentBack));
    facts.extend(results.ended_twice.iter().map(|&job| Problem::EndedTwice(job)));
    problems.extend(results.unreadable.iter().cloned().map(Problem::Unreadable));
    problems.extend(queue.strange.iter().cloned().map(Problem::NoJob));
    compare_queue(results, queue, now_ms, &mut figures, &mut problems);
    find_losses(results, queue, &returned, now_ms, Found { figures: &mut figures, problems: &mut problems, facts: &mut facts });
    Look { figures, problems, facts }
}

/// What JOBS holds must be open, or have ended a moment ago: before a scheduler could find it ended and acknowledge it.
fn compare_queue(results: &Results, queue: &Queue, now_ms: u64, figures: &mut Figures, problems: &mut BTreeSet<Problem>) {
    let patience_ms = ms(ACK_WAIT).saturating_add(ACK_SLACK_MS);
    for &job in &queue.jobs {
        match results.records.get(&job) {
            Some(Entry { state: EntryState::Open, .. }) => {}
            Some(record) => {
                figures.waiting_for_ack += 1;
                let is_late = |led_since_ms| now_ms.saturating_sub(record.stored_at_ms.max(led_since_ms)) > patience_ms;
                if queue.led_since_ms.is_some_and(is_late) {
                    problems.insert(Problem::NotAcknowledged(job));
                }
            }
            None => {
                problems.insert(Problem::NoRecord(job));
            }
        }
    }
}

/// Where what is found is written.
struct Found<'a> {
    figures: &'a mut Figures,
    problems: &'a mut BTreeSet<Problem>,
    facts: &'a mut BTreeSet<Problem>,
}

/// What left JOBS and had not ended: counted by JOBS' own sequence, and named where the open jobs say whose it was.
fn find_losses(results: &Results, queue: &Queue, returned: &BTreeSet<JobId>, now_ms: u64, found: Found<'_>) {
    let ledger = &results.ledger;
    let mut book = ledger.queue.clone();
    // The leader may have seen more of JOBS than its list: whether it went back is said by the look that was taken last.
    if let Some(setback) = book.on_sight(queue.ended.sight, queue.ended.replicas, queue.ended.now_ms) {
        if setback.is_loss() {
            found.problems.insert(Problem::StoreWentBack(setback.to_string()));
        }
    } else {
        book.sight = Some(queue.began.sight);
    }
    // No leader has ever stored anything, and RESULTS tells of all that JOBS ever had.
    book.is_measured |= ledger.version == 0 && ledger.counts.through_seq == 0 && found.figures.missed == 0;
    let is_listed =
        |job: &JobId| matches!(results.records.get(job), Some(Entry { state: EntryState::Ended { took: Took::Message, .. }, .. }));
    let listed = queue.jobs.iter().filter(|job| is_listed(job)).count() as u64;
    let uncounted = found.figures.missed.saturating_sub(ledger.counts.missed);
    let ended = (ledger.ended_with_message() + results.with_message + uncounted).saturating_sub(listed);
    let known = ledger.lost + ledger.unnamed;
    let unexplained = book.excess(ended).saturating_sub(known);

    let without_message = |record: &&Entry| {
        let is_missing = !queue.jobs.contains(&record.job) && !returned.contains(&record.job);
        record.state == EntryState::Open && record.stored_at_ms < queue.began.now_ms && is_missing
    };
    let candidates: Vec<&Entry> = results.records.values().filter(without_message).collect();
    let open_without_message = candidates.len() as u64;
    let are_all_lost = unexplained >= open_without_message;
    let young_ms = ms(ORPHAN_AFTER).saturating_add(SWEEP_SLACK_MS);
    for Entry { job, stored_at_ms, .. } in candidates {
        match (unexplained, are_all_lost) {
            (0, _) if now_ms.saturating_sub(*stored_at_ms) < young_ms => found.figures.young += 1,
            (0, _) if book.is_measured => found.figures.never_queued += 1,
            (0, _) => drop(found.problems.insert(Problem::Orphan(*job))),
            (_, true) => drop(found.problems.insert(Problem::Lost(*job))),
            (_, false) => drop(found.problems.insert(Problem::MaybeLost(*job))),
        }
    }
    found.figures.vanished = known + unexplained;
    if unexplained > 0 {
        found.figures.open_lost = open_without_message;
        found.problems.insert(Problem::Vanished);
    }
    if known > 0 {
        found.facts.insert(Problem::Vanished);
        found.facts.extend(ledger.lost_jobs.iter().map(|&job| Problem::Lost(job)));
    }
    if ledger.unnamed > 0 {
        found.facts.extend(ledger.suspects.iter().map(|&job| Problem::MaybeLost(job)));
    }
}

/// What several looks agree on.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub looks: u64,
    pub figures: Figures,
    /// Found by every look so far.
    lasting: BTreeSet<Problem>,
    /// Seen once is enough: an end that replaced an end is overwritten by the next look.
    facts: BTreeSet<Problem>,
    /// Sequence of each end seen, by job: another one on a later look is a second end.
    ends: BTreeMap<JobId, u64>,
}

impl Verdict {
    pub(super) fn add(&mut self, results: &Results, look: Look) {
        for record in results.records.values() {
            if let EntryState::Ended { .. } = record.state
                && self.ends.insert(record.job, record.seq).is_some_and(|before| before != record.seq)
            {
                self.facts.insert(Problem::EndedTwice(record.job));
            }
        }
        self.facts.extend(look.facts);
        self.lasting = if self.looks == 0 { look.problems } else { self.lasting.intersection(&look.problems).cloned().collect() };
        self.figures = look.figures;
        self.looks += 1;
    }

    /// What the schedulers have found broken; once is enough.
    pub(super) fn add_violations(&mut self, violations: impl IntoIterator<Item = String>) {
        self.facts.extend(violations.into_iter().map(Problem::Violation));
        self.figures.violations = self.facts.iter().filter(|fact| matches!(fact, Problem::Violation(_))).count() as u64;
    }

    pub(super) fn problems(&self) -> BTreeSet<&Problem> {
        self.lasting.union(&self.facts).collect()
    }

    /// Whether another look could change the verdict.
    pub(super) fn may_change(&self) -> bool {
        !self.lasting.is_empty()
    }
}
