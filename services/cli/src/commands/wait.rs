//! `submit --wait`: counts the ends of the submitted jobs. `job.done.*` tells at once, and what it failed to tell
//! (a reconnect, a full buffer) is read back from RESULTS every few seconds, so that no end is missed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use faultline_engine::job::JobId;
use faultline_protocol::codec::HEADER_JOB_STATE;
use faultline_protocol::messages::JobState;
use faultline_protocol::subjects;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::read_record_surely;
use futures::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::time::Instant;

use super::parse::state_of;
use crate::exit::Failure;

const READ_BACK_EVERY: Duration = Duration::from_secs(3);
/// Read back in one round; the next round goes on behind it, so a hundred thousand open jobs do not stall the server.
const READ_BACK_AT_MOST: usize = 4_000;
const READS_AT_ONCE: usize = 64;
const TICK: Duration = Duration::from_millis(50);
/// Without a terminal, a line of progress now and then.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// A record that is not found this often is gone: its stream was emptied, or it expired long ago.
const GONE_AFTER: u8 = 3;

/// How the submitted jobs ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Ends {
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// Their records have expired, so their ends are unknown.
    pub unknown: u64,
}

impl Ends {
    pub(crate) fn total(&self) -> u64 {
        self.committed + self.dead + self.cancelled + self.abandoned + self.unknown
    }

    fn add(&mut self, state: Option<JobState>) {
        match state {
            Some(JobState::Committed) => self.committed += 1,
            Some(JobState::Dead) => self.dead += 1,
            Some(JobState::Cancelled) => self.cancelled += 1,
            Some(JobState::Abandoned) => self.abandoned += 1,
            Some(JobState::Queued | JobState::Running) | None => self.unknown += 1,
        }
    }

    /// `98 committed, 2 given up`.
    pub(crate) fn words(&self) -> String {
        let mut parts = vec![format!("{} committed", crate::output::count(self.committed))];
        for (number, word) in
            [(self.dead, "given up"), (self.cancelled, "cancelled"), (self.abandoned, "abandoned"), (self.unknown, "unknown")]
        {
            if number > 0 {
                parts.push(format!("{} {word}", crate::output::count(number)));
            }
        }
        parts.join(", ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    /// It is being handed over, which may take as long as NATS is away: that it has no record means nothing.
    Expected,
    /// With how often its record was looked for and not found.
    Accepted(u8),
}

/// Which of the submitted jobs are still open. Pure: what arrives is told to it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    open: BTreeMap<JobId, Open>,
    ended: BTreeMap<JobId, Option<JobState>>,
    ends: Ends,
    /// Where the next round of reading back begins.
    cursor: Option<JobId>,
}

impl Tally {
    /// Before the job is submitted, so that its end cannot come first.
    pub(crate) fn expect(&mut self, job: JobId) {
        self.open.insert(job, Open::Expected);
    }

    /// The job is durable; it may even have ended already.
    pub(crate) fn accepted(&mut self, job: JobId) {
        self.found(job);
    }

    /// The job was never accepted.
    pub(crate) fn forget(&mut self, job: JobId) {
        self.open.remove(&job);
    }

    /// A job ended; the news may come twice, and may be about others' jobs.
    pub(crate) fn ended(&mut self, job: JobId, state: JobState) {
        if state.is_terminal() {
            self.close(job, Some(state));
        }
    }

    fn close(&mut self, job: JobId, state: Option<JobState>) {
        if self.open.remove(&job).is_some() {
            self.ended.insert(job, state);
            self.ends.add(state);
        }
    }

    /// There is a record, and it is open.
    fn found(&mut self, job: JobId) {
        if let Some(open) = self.open.get_mut(&job) {
            *open = Open::Accepted(0);
        }
    }

    /// The job has no record (any more).
    pub(crate) fn not_found(&mut self, job: JobId) {
        let Some(Open::Accepted(times)) = self.open.get_mut(&job) else { return };
        *times += 1;
        if *times >= GONE_AFTER {
            self.close(job, None);
        }
    }

    /// The next open jobs to read back, in turn.
    fn next_to_read(&mut self, limit: usize) -> Vec<JobId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.cursor.map_or(Unbounded, Excluded);
        let accepted = |(&job, open): (&JobId, &Open)| matches!(open, Open::Accepted(_)).then_some(job);
        let ids: Vec<JobId> = self.open.range((after, Unbounded)).filter_map(accepted).take(limit).collect();
        self.cursor = if ids.len() < limit { None } else { ids.last().copied() };
        ids
    }

    /// How each ended job ended; `None` when its record is gone.
    pub(crate) fn take_states(&mut self) -> BTreeMap<JobId, Option<JobState>> {
        std::mem::take(&mut self.ended)
    }
}

/// Shared between the submitting and the waiting side.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Tally>);

impl Board {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens to `job.done.*`; made before the first job is submitted.
pub(crate) async fn listen(nats: &Nats) -> Result<async_nats::Subscriber, Failure> {
    let subscriber = nats
        .client
        .subscribe(subjects::DONE_ALL)
        .await
        .map_err(|error| Failure::Failed(anyhow!("cannot subscribe to job.done.*: {error}")))?;
    nats.client.flush().await.map_err(|error| Failure::Failed(anyhow!("NATS does not answer: {error}")))?;
    Ok(subscriber)
}

/// Writes every end that is heard of on the board, until the connection is closed.
pub(crate) async fn hear(mut subscriber: async_nats::Subscriber, board: &Board) {
    while let Some(message) = subscriber.next().await {
        let state = message.headers.as_ref().and_then(|headers| headers.get(HEADER_JOB_STATE)).and_then(|state| state_of(state.as_str()));
        if let (Some(job), Some(state)) = (subjects::result_job_id(&message.subject), state) {
            board.lock().ended(job, state);
        }
    }
}

/// Reads the records of open jobs in turn, for ever.
pub(crate) async fn read_back(nats: &Nats, board: &Board) -> Infallible {
    loop {
        tokio::time::sleep(READ_BACK_EVERY).await;
        let ids = board.lock().next_to_read(READ_BACK_AT_MOST);
        let reads = futures::stream::iter(ids).map(|job| async move { (job, read_record_surely(nats, job).await) });
        let mut reads = reads.buffer_unordered(READS_AT_ONCE);
        while let Some((job, record)) = reads.next().await {
            match record {
                Ok(Some(record)) if record.is_open => board.lock().found(job),
                Ok(Some(record)) => board.lock().close(job, record.terminal_state()),
                Ok(None) => board.lock().not_found(job),
                Err(reason) => tracing::debug!(%job, reason, "a record could not be read back: trying again in the next round"),
            }
        }
    }
}

/// Keeps the bar at what the board says, for ever.
pub(crate) async fn show(board: &Board, bar: &ProgressBar) -> Infallible {
    let mut reported = Instant::now();
    loop {
        let ends = board.lock().ends;
        bar.set_position(ends.total());
        if ends.committed < ends.total() {
            bar.set_message(ends.words());
        }
        if bar.is_hidden() && reported.elapsed() >= REPORT_EVERY {
            tracing::info!(ended = ends.total(), "waiting for the jobs to end: {}", ends.words());
            reported = Instant::now();
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Returns when `expected` jobs have ended.
pub(crate) async fn until_all_ended(board: &Board, bar: &ProgressBar, expected: u64) -> Ends {
    let all_ended = async {
        loop {
            let ends = board.lock().ends;
            if ends.total() >= expected {
                return ends;
            }
            tokio::time::sleep(TICK).await;
        }
    };
    let ends = tokio::select! {
        ends = all_ended => ends,
        never = show(board, bar) => match never {},
    };
    bar.finish_and_clear();
    ends
}

/// On standard error, and only on a terminal.
pub(crate) fn progress_bar(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar:.green} {human_pos}/{human_len} {per_sec} {elapsed_precise} {msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u128) -> JobId {
        JobId::new(1, number)
    }

    #[test]
    fn each_end_counts_once_and_only_for_our_own_jobs() {
        let mut tally = Tally::default();
        tally.expect(job(1));
        tally.expect(job(2));
        tally.ended(job(1), JobState::Committed);
        tally.ended(job(1), JobState::Committed);
        tally.ended(job(9), JobState::Committed);
        tally.ended(job(2), JobState::Running);
        assert_eq!(tally.ends, Ends { committed: 1, ..Ends::default() });
        tally.ended(job(2), JobState::Dead);
        assert_eq!(tally.ends.words(), "1 committed, 1 given up");
    }

    #[test]
    fn a_job_that_was_refused_is_not_waited_for() {
        let mut tally = Tally::default();
        tally.expect(job(1));
        tally.forget(job(1));
        tally.ended(job(1), JobState::Committed);
        assert_eq!(tally.ends.total(), 0);
    }

    #[test]
    fn a_record_is_given_up_only_after_several_looks() {
        let mut tally = Tally::default();
        tally.expect(job(1));
        // Until it is handed over it cannot have one.
        (0..9).for_each(|_| tally.not_found(job(1)));
        assert_eq!((tally.next_to_read(9), tally.ends.total()), (Vec::new(), 0));
        tally.accepted(job(1));
        tally.not_found(job(1));
        tally.not_found(job(1));
        assert_eq!((tally.next_to_read(9), tally.ends.total()), (vec![job(1)], 0));
        tally.not_found(job(1));
        tally.not_found(job(1));
        assert_eq!(tally.ends, Ends { unknown: 1, ..Ends::default() });
    }

    #[test]
    fn reading_back_goes_round() {
        let mut tally = Tally::default();
        for number in 1..=5 {
            tally.expect(job(number));
            tally.accepted(job(number));
        }
        assert_eq!(tally.next_to_read(2), [job(1), job(2)]);
        tally.ended(job(4), JobState::Committed);
        assert_eq!(tally.next_to_read(2), [job(3), job(5)]);
        assert_eq!(tally.next_to_read(2), []);
        assert_eq!(tally.next_to_read(9), [job(1), job(2), job(3), job(5)]);
    }
}
