//! Orphans and losses told apart: by what was seen, by the sum, and at random.

use proptest::prelude::*;

use super::super::{LedgerRecord, LedgerState};
use super::*;
use crate::job::JobState;

const MINUTE: u64 = 60_000;

fn id(n: u128) -> JobId {
    JobId::new(0, n)
}

/// A cluster in miniature: what RESULTS and JOBS hold, and a ledger that follows.
#[derive(Clone)]
struct Cluster {
    ledger: Ledger,
    made_at_ms: u64,
    now_ms: u64,
    results_seq: u64,
    jobs_seq: u64,
    queued: BTreeSet<JobId>,
    held: BTreeSet<JobId>,
}

impl Cluster {
    fn new() -> Self {
        let (queued, held) = (BTreeSet::new(), BTreeSet::new());
        Self { ledger: Ledger::new(LedgerState::default()), made_at_ms: 1, now_ms: 1_000, results_seq: 0, jobs_seq: 0, queued, held }
    }

    fn record(&mut self, job: u128, state: JobState, took: Took) {
        self.results_seq += 1;
        self.ledger.fold(LedgerRecord { seq: self.results_seq, job: id(job), state, stored_at_ms: self.now_ms, took });
    }

    fn open(&mut self, job: u128) {
        self.record(job, JobState::Queued, Took::Message);
    }

    fn submit(&mut self, job: u128) {
        self.open(job);
        self.jobs_seq += 1;
        self.queued.insert(id(job));
    }

    fn end(&mut self, job: u128) {
        self.record(job, JobState::Committed, Took::Message);
        self.queued.remove(&id(job));
    }

    fn take_away(&mut self, job: u128) {
        assert!(self.queued.remove(&id(job)));
    }

    fn sight(&self) -> Sight {
        Sight { made_at_ms: self.made_at_ms, last_seq: self.jobs_seq, messages: self.queued.len() as u64 }
    }

    fn survey(&mut self) {
        self.now_ms += 1_000;
        let (queued, held) = (self.queued.clone(), self.held.clone());
        let survey = Survey { sight: self.sight(), began_at_ms: self.now_ms, replicas: 1, queued: &queued, held: &held };
        self.ledger.on_survey(&survey);
    }

    fn surveys(&mut self) {
        self.survey();
        self.survey();
    }

    /// What the sweeper does once they are old.
    fn sweep(&mut self) -> Vec<(JobId, Took)> {
        self.now_ms += 3 * MINUTE;
        self.surveys();
        let orphans = self.ledger.orphans(self.now_ms, 2 * MINUTE, &self.held);
        for orphan in &orphans {
            self.results_seq += 1;
            let (seq, stored_at_ms) = (self.results_seq, self.now_ms);
            self.ledger.fold(LedgerRecord { seq, job: orphan.job, state: JobState::Abandoned, stored_at_ms, took: orphan.took });
        }
        orphans.iter().map(|orphan| (orphan.job, orphan.took)).collect()
    }

    /// A new leader, which knows what is stored and what RESULTS holds.
    fn change_leader(&mut self, records: &[LedgerRecord]) {
        self.ledger = Ledger::new(self.ledger.to_store(self.now_ms));
        records.iter().for_each(|record| self.ledger.fold(*record));
        self.ledger.on_caught_up(false);
    }

    fn vanished(&self) -> u64 {
        self.ledger.counts().vanished
    }
}

#[test]
fn a_submitter_that_died_between_its_two_writes_leaves_nothing_lost() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|job| cluster.submit(job));
    cluster.open(4);
    cluster.end(1);
    cluster.surveys();
    assert_eq!(cluster.sweep(), [(id(4), Took::Nothing)]);
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.counts().abandoned, cluster.ledger.state().lost), (0, 1, 0));
}

#[test]
fn a_message_that_was_seen_and_vanished_is_a_loss_before_and_after_the_sweep_and_under_the_next_leader() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.survey();
    cluster.take_away(1);
    cluster.surveys();
    assert_eq!(cluster.vanished(), 1);
    assert_eq!(cluster.ledger.gone_jobs().collect::<Vec<_>>(), [id(1)]);
    assert_eq!(cluster.sweep(), [(id(1), Took::Vanished)]);
    assert_eq!((cluster.vanished(), cluster.ledger.state().lost_jobs.as_slice()), (1, [id(1)].as_slice()));
    cluster.change_leader(&[]);
    cluster.surveys();
    assert_eq!(cluster.vanished(), 1);
}

#[test]
fn a_message_that_vanished_before_anybody_saw_it_is_found_by_the_sum_even_before_the_first_leader() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.submit(2);
    cluster.take_away(2);
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.gone_jobs().collect::<Vec<_>>()), (1, vec![id(2)]));
    assert_eq!(cluster.sweep(), [(id(2), Took::Vanished)]);
}

#[test]
fn a_loss_beside_an_orphan_is_counted_and_both_are_suspects() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.open(2);
    cluster.take_away(1);
    cluster.surveys();
    assert_eq!(cluster.vanished(), 0, "one of two, and nothing says which");
    assert_eq!(cluster.sweep(), [(id(1), Took::Unclear), (id(2), Took::Unclear)]);
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.state().suspects.len()), (1, 2));
}

#[test]
fn a_job_that_runs_although_its_message_vanished_is_no_loss_once_it_has_ended() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.held.insert(id(1));
    cluster.survey();
    cluster.take_away(1);
    cluster.surveys();
    assert_eq!(cluster.vanished(), 1);
    assert_eq!(cluster.sweep(), [], "its end is still to come");
    cluster.end(1);
    cluster.held.clear();
    cluster.surveys();
    assert_eq!(cluster.vanished(), 0);
}

#[test]
fn one_list_that_misses_a_message_proves_nothing() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.survey();
    let (queued, held) = (BTreeSet::new(), BTreeSet::new());
    let survey = Survey { sight: cluster.sight(), began_at_ms: 9_000, replicas: 1, queued: &queued, held: &held };
    cluster.ledger.on_survey(&survey);
    cluster.survey();
    assert_eq!((cluster.vanished(), cluster.ledger.state().unnamed), (0, 0));
}

#[test]
fn a_list_that_is_older_than_the_newest_look_is_no_setback_and_blames_nobody_for_what_vanished_since() {
    let mut cluster = Cluster::new();
    cluster.submit(1);
    cluster.survey();
    let (listed, sight, began_at_ms) = (cluster.queued.clone(), cluster.sight(), cluster.now_ms + 1);
    // Meanwhile one more came, the first one's message vanished, and JOBS was seen.
    cluster.submit(2);
    cluster.take_away(1);
    cluster.now_ms += 1_000;
    cluster.ledger.on_jobs(cluster.sight(), 1, cluster.now_ms);
    cluster.ledger.on_survey(&Survey { sight, began_at_ms, replicas: 1, queued: &listed, held: &BTreeSet::new() });
    assert_eq!((cluster.ledger.state().setbacks.len(), cluster.ledger.state().unnamed, cluster.vanished()), (0, 0, 0));
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.gone_jobs().collect::<Vec<_>>()), (1, vec![id(1)]));
}

#[test]
fn a_purge_of_all_names_all() {
    let mut cluster = Cluster::new();
    (1..=5).for_each(|job| cluster.submit(job));
    cluster.queued.clear();
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.gone_jobs().count()), (5, 5));
}

#[test]
fn jobs_made_anew_lose_what_they_held_and_an_empty_one_loses_nothing() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|job| cluster.submit(job));
    cluster.end(1);
    cluster.surveys();
    (cluster.made_at_ms, cluster.jobs_seq) = (50, 0);
    cluster.queued.clear();
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.state().setbacks.len()), (2, 1));
    assert!(cluster.ledger.state().setbacks[0].is_loss());
    assert!(cluster.sweep().iter().all(|(_, took)| *took == Took::Vanished));

    let mut empty = Cluster::new();
    empty.submit(1);
    empty.end(1);
    empty.surveys();
    (empty.made_at_ms, empty.jobs_seq) = (50, 0);
    empty.surveys();
    empty.submit(2);
    empty.surveys();
    assert_eq!(empty.vanished(), 0);
    assert!(empty.ledger.state().setbacks.iter().all(|setback| !setback.is_loss()));
}

#[test]
fn a_ledger_that_was_made_anew_in_the_middle_measures_and_finds_what_vanishes_afterwards() {
    let mut cluster = Cluster::new();
    (1..=10).for_each(|job| cluster.submit(job));
    (1..=4).for_each(|job| cluster.end(job));
    // The records of the four have expired, and so has the ledger; the stream is at 14.
    let stored_at_ms = cluster.now_ms;
    cluster.ledger = Ledger::new(LedgerState::default());
    for job in 5..=10 {
        cluster.ledger.fold(LedgerRecord { seq: job as u64, job: id(job), state: JobState::Queued, stored_at_ms, took: Took::Message });
    }
    cluster.ledger.pass_over(14);
    cluster.ledger.on_caught_up(true);
    let counts = cluster.ledger.counts();
    assert_eq!((counts.submitted, counts.missed, counts.open()), (10, 4, 6));
    cluster.surveys();
    assert_eq!(cluster.vanished(), 0);
    cluster.take_away(7);
    cluster.surveys();
    assert_eq!((cluster.vanished(), cluster.ledger.gone_jobs().collect::<Vec<_>>()), (1, vec![id(7)]));
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Submit,
    OpenOnly,
    End(u128),
    TakeAway(u128),
    Cancel(u128),
    Survey,
    Sweep,
    ChangeLeader,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Submit),
        1 => Just(Step::OpenOnly),
        4 => (0_u128..40).prop_map(Step::End),
        1 => (0_u128..40).prop_map(Step::TakeAway),
        1 => (0_u128..40).prop_map(Step::Cancel),
        2 => Just(Step::Survey),
        1 => Just(Step::Sweep),
        1 => Just(Step::ChangeLeader),
    ];
    proptest::collection::vec(step, 1..80)
}

proptest! {
    /// Nothing that is well is ever called lost, and once the sweeper has been, exactly what was taken away is.
    #[test]
    fn what_was_taken_away_is_what_vanished(steps in steps()) {
        let mut cluster = Cluster::new();
        let (mut next, mut taken) = (0_u128, BTreeSet::new());
        let mut log: Vec<LedgerRecord> = Vec::new();
        for step in steps {
            let before = cluster.results_seq;
            match step {
                Step::Submit => { cluster.submit(next); next += 1; }
                Step::OpenOnly => { cluster.open(next); next += 1; }
                Step::End(job) if cluster.queued.contains(&id(job)) => cluster.end(job),
                Step::TakeAway(job) if cluster.queued.contains(&id(job)) => { cluster.take_away(job); taken.insert(id(job)); }
                Step::Cancel(job) if cluster.queued.contains(&id(job)) => {
                    cluster.record(job, JobState::Cancelled, Took::Message);
                    cluster.queued.remove(&id(job));
                }
                Step::Survey => cluster.survey(),
                Step::Sweep => drop(cluster.sweep()),
                Step::ChangeLeader => {
                    // Open markers are all that outlives everything.
                    let (ledger, now_ms) = (cluster.ledger.clone(), cluster.now_ms);
                    log = ledger.open.iter().map(|(job, marker)| LedgerRecord {
                        seq: marker.seq, job: *job, state: JobState::Queued, stored_at_ms: marker.stored_at_ms.min(now_ms), took: Took::Message,
                    }).collect();
                    log.sort_by_key(|record| record.seq);
                    cluster.change_leader(&log);
                }
                _ => {}
            }
            prop_assert!(cluster.results_seq >= before);
            prop_assert!(cluster.vanished() <= taken.len() as u64, "{} vanished, {} were taken", cluster.vanished(), taken.len());
        }
        cluster.sweep();
        cluster.surveys();
        prop_assert_eq!(cluster.vanished(), taken.len() as u64);
        prop_assert_eq!(cluster.ledger.state().imbalance(cluster.ledger.open_jobs().count() as u64), 0);
        for job in &cluster.ledger.state().lost_jobs {
            prop_assert!(taken.contains(job), "{} was never taken away", job);
        }
        drop(log);
    }
}

/// nats-server leaves no trace of a message that the limit of one message a subject has removed. When it is killed after the end that replaced
/// an opening has expired, it finds the opening in its file again.
#[test]
fn openings_that_come_back_after_their_ends_have_expired_are_closed_and_change_no_count() {
    let mut cluster = Cluster::new();
    (1..=3).for_each(|job| cluster.submit(job));
    let openings: Vec<LedgerRecord> = (1..=3).map(|seq| LedgerRecord { seq, ..opening(u128::from(seq)) }).collect();
    (1..=2).for_each(|job| cluster.end(job));
    cluster.open(4);
    let left_behind = LedgerRecord { seq: 6, stored_at_ms: cluster.now_ms, ..opening(4) };
    let before = cluster.ledger.counts().clone();
    cluster.now_ms += 10 * MINUTE;

    cluster.change_leader(&[openings[0], openings[1], openings[2], left_behind]);
    assert_eq!(cluster.sweep(), [(id(1), Took::Returned), (id(2), Took::Returned), (id(4), Took::Nothing)]);
    cluster.surveys();
    let counts = cluster.ledger.counts();
    assert_eq!((counts.submitted, counts.committed, counts.abandoned), (before.submitted, before.committed, 1));
    assert_eq!((counts.duplicates, counts.vanished, counts.open()), (0, 0, 1));
    assert_eq!(cluster.ledger.state().imbalance(1), 0);
    assert!(cluster.ledger.is_open(id(3)), "its message is in JOBS");
}

fn opening(job: u128) -> LedgerRecord {
    LedgerRecord { seq: 0, job: id(job), state: JobState::Queued, stored_at_ms: 1_000, took: Took::Message }
}
