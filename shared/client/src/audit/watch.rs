//! The audit as things happen: follows RESULTS and EVENTS, looks at JOBS now and then, and has `engine::ledger::watch` say what is wrong. It
//! goes on through restarts of NATS, changes of the leader, and streams that went back, and says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use faultline_engine::ledger::memory::DOUBT_MS;
use faultline_engine::ledger::survey::Survey;
use faultline_engine::ledger::watch::{Finding, Totals, Watch};
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, EventKind};
use faultline_protocol::streams::{self, KV_LEDGER};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::read::{From, ReadError, Reader, Row};
use faultline_runtime::record::{read_for_ledger, read_record_surely};
use faultline_runtime::sight::{Look as StreamLook, is_rewritten};
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::{jobs_in_queue, patiently, read_violations, stored_ledger, stream_look};
use crate::ClientError;
use crate::absence::{self, Standing};

/// One round of reading; messages are taken at once as they come.
const ROUND: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
/// The subjects of JOBS are listed this often: with a long queue that costs the server something.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// When something is missing, or could not be looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const READ_LIMIT: Duration = Duration::from_secs(5);
const READ_AGAIN: Duration = Duration::from_millis(20);
/// Open markers that are read again with each look, in turn.
const REREAD: usize = 500;
const READS_AT_ONCE: usize = 32;

/// One watch over a cluster.
pub struct AuditWatch {
    nats: Nats,
    store: Store,
    began_ms: u64,
    board: RefCell<Board>,
}

/// What is to be shown now.
#[derive(Debug)]
pub struct Seen {
    pub at_ms: u64,
    pub totals: Totals,
    pub connected: bool,
    pub scheduler_answers: bool,
    /// What happened to the watch and to the cluster since the last time.
    pub notes: Vec<String>,
    /// What was found since then.
    pub news: Vec<Finding>,
}

/// What the whole watch found.
#[derive(Debug)]
pub struct Outcome {
    pub totals: Totals,
    pub findings: Vec<Finding>,
    /// How far RESULTS was read, and how long it was at the beginning, or when it went back.
    pub reached_seq: u64,
    pub wanted_seq: u64,
}

impl AuditWatch {
    pub async fn begin(nats: &Nats) -> Result<Self, ClientError> {
        let store = nats.bucket(KV_LEDGER).await?;
        let ledger = stored_ledger(&store).await?;
        let results = stream_look(nats, streams::RESULTS).await?;
        let is_rewritten = patiently(|| is_rewritten(nats, ledger.anchor, streams::RESULTS, &results)).await?;
        let began_ms = unix_ms();
        let mut watch = Watch::new(ledger, began_ms);
        watch.on_results(results.sight, results.replicas, is_rewritten, results.now_ms);
        for violation in read_violations(nats).await? {
            watch.on_violation(&violation);
        }
        let board = RefCell::new(Board::new(watch, results.sight.last_seq));
        Ok(Self { nats: nats.clone(), store, began_ms, board })
    }

    /// Goes on for ever; dropped when enough was seen.
    pub async fn follow(&self) -> Infallible {
        tokio::select! {
            never = self.read_results() => never,
            never = self.read_events() => never,
            never = self.look() => never,
            never = absence::follow(&self.nats, |standing| self.board.borrow_mut().note_leader(standing)) => never,
        }
    }

    /// What there is to show since the last call.
    pub fn take(&self) -> Seen {
        let mut board = self.board.borrow_mut();
        board.note_link(self.nats.is_connected());
        let at_ms = unix_ms();
        let (totals, notes, news) = (board.watch.totals(at_ms), std::mem::take(&mut board.notes), board.watch.take_news());
        Seen { at_ms, totals, connected: board.connected, scheduler_answers: board.scheduler_answers, notes, news }
    }

    pub fn end(self) -> Outcome {
        let Board { watch, reached_seq, wanted_seq, .. } = self.board.into_inner();
        let (totals, findings) = (watch.totals(unix_ms()), watch.findings().cloned().collect());
        Outcome { totals, findings, reached_seq, wanted_seq }
    }

    async fn read_results(&self) -> Infallible {
        let mut reader = Reader::new(&self.nats, streams::RESULTS, From::Start).headers_only().ends_with_stream();
        loop {
            let Err(error) = self.read_round(&mut reader).await else { continue };
            if matches!(error, ClientError::Read(ReadError::BeganAgain(_))) {
                match self.begin_again().await {
                    Ok(()) => continue,
                    // The reader has forgotten where it was, and begins at the start in any case.
                    Err(error) => self.board.borrow_mut().notes.push(format!("RESULTS went back, and cannot be asked how far: {error}")),
                }
            }
            tracing::debug!(stream = streams::RESULTS, %error, "reading goes on later");
            sleep(PAUSE).await;
        }
    }

    async fn read_round(&self, reader: &mut Reader) -> Result<(), ClientError> {
        if !self.board.borrow().is_caught_up && reader.pending().await? == 0 {
            self.board.borrow_mut().on_caught_up();
        }
        let take = |row: Row| {
            self.board.borrow_mut().on_result(&row);
            ControlFlow::Continue(())
        };
        Ok(reader.follow(ROUND, take).await?)
    }

    /// RESULTS was made anew, or went back: what is left of it is read from its first message on.
    async fn begin_again(&self) -> Result<(), ClientError> {
        let mut now = stream_look(&self.nats, streams::RESULTS).await?;
        let is_rewritten = if now.replicas > 1 {
            // A replica that has just begun to lead may not have applied everything yet.
            sleep(Duration::from_millis(DOUBT_MS)).await;
            now = stream_look(&self.nats, streams::RESULTS).await?;
            let anchor = self.board.borrow().watch.anchor();
            patiently(|| is_rewritten(&self.nats, anchor, streams::RESULTS, &now)).await?
        } else {
            // If the stream does not show it itself, its reader has found another message where it was.
            true
        };
        self.board.borrow_mut().on_results(&now, is_rewritten);
        Ok(())
    }

    async fn read_events(&self) -> Infallible {
        let mut reader = Reader::new(&self.nats, streams::EVENTS, From::Time(self.began_ms)).ends_with_stream();
        loop {
            let round = reader.follow(ROUND, |row| {
                self.board.borrow_mut().on_event(&row);
                ControlFlow::Continue(())
            });
            match round.await {
                Ok(()) => {}
                Err(ReadError::BeganAgain(_)) => {
                    reader = Reader::new(&self.nats, streams::EVENTS, From::Time(self.began_ms)).ends_with_stream();
                }
                Err(error) => {
                    tracing::debug!(stream = streams::EVENTS, %error, "reading goes on later");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Compares what is open with what JOBS holds and with the records themselves, now and then.
    async fn look(&self) -> Infallible {
        let mut connections = self.nats.connections();
        loop {
            connections.mark_unchanged();
            let surveyed = self.survey().await;
            if let Err(error) = &surveyed {
                tracing::debug!(%error, "JOBS was not listed");
            }
            let jobs = self.board.borrow_mut().watch.to_reread(REREAD, unix_ms());
            let reads = futures::stream::iter(jobs).map(|job| async move { (job, read_record_surely(&self.nats, job).await) });
            let mut reads = reads.buffer_unordered(READS_AT_ONCE);
            while let Some((job, read)) = reads.next().await {
                if let Ok(found) = read {
                    self.board.borrow_mut().watch.on_reread(job, found.is_some());
                }
            }
            let pause = if surveyed.is_err() || self.board.borrow().watch.wants_survey() { LOOK_AGAIN } else { LOOK_EVERY };
            // A server that was away may come back with less than it had.
            let _ = timeout(pause, connections.changed()).await;
        }
    }

    /// JOBS first, then the leader's own books, then RESULTS up to where it is now: what left JOBS for a reason had ended by then.
    async fn survey(&self) -> Result<(), ClientError> {
        let queue = jobs_in_queue(&self.nats).await?;
        let ledger = stored_ledger(&self.store).await?;
        let results = stream_look(&self.nats, streams::RESULTS).await?;
        let last_seq = results.sight.last_seq;
        if !self.board.borrow_mut().watch.still_reads(results.sight, results.replicas, results.now_ms) {
            return Err(ClientError::Failed("RESULTS is not what was read: its reader begins again".into()));
        }
        let give_up = Instant::now() + READ_LIMIT;
        while !self.board.borrow().has_read(last_seq) {
            if Instant::now() >= give_up {
                return Err(ClientError::Failed(format!("RESULTS was not read as far as message {last_seq} in time")));
            }
            sleep(READ_AGAIN).await;
        }
        let StreamLook { sight, now_ms, replicas, .. } = queue.began;
        let mut board = self.board.borrow_mut();
        board.watch.on_ledger(&ledger);
        // What only the leader holds is of no use here: a job that runs without its message is shown until it has ended.
        board.watch.on_survey(&Survey { sight, began_at_ms: now_ms, replicas, queued: &queue.jobs, held: &BTreeSet::new() });
        Ok(())
    }
}

/// What the tasks of one watch share; none of them holds it while it waits.
struct Board {
    watch: Watch,
    notes: Vec<String>,
    connected: bool,
    scheduler_answers: bool,
    /// Once RESULTS has been read as far as it went then, nothing is missing.
    wanted_seq: u64,
    reached_seq: u64,
    is_caught_up: bool,
    /// The newest change of leader that was noted: events of before may come again.
    noted_ms: u64,
}

impl Board {
    fn new(watch: Watch, wanted_seq: u64) -> Self {
        Self {
            watch,
            notes: Vec::new(),
            connected: true,
            scheduler_answers: true,
            wanted_seq,
            reached_seq: 0,
            is_caught_up: false,
            noted_ms: 0,
        }
    }

    /// RESULTS is read from its first message on, again.
    fn on_results(&mut self, now: &StreamLook, is_rewritten: bool) {
        if let Some(setback) = self.watch.on_results(now.sight, now.replicas, is_rewritten, now.now_ms) {
            self.notes.push(format!("{setback}; reading it again from its first message"));
            self.watch.on_interruption(unix_ms());
        }
        (self.wanted_seq, self.reached_seq, self.is_caught_up) = (now.sight.last_seq, 0, false);
    }

    fn on_caught_up(&mut self) {
        self.is_caught_up = true;
        // What is not there any more was replaced, or has expired.
        self.reached_seq = self.reached_seq.max(self.wanted_seq);
        self.watch.on_caught_up();
    }

    fn has_read(&self, seq: u64) -> bool {
        self.is_caught_up && self.reached_seq.max(self.watch.through_seq()) >= seq
    }

    fn on_result(&mut self, row: &Row) {
        self.reached_seq = self.reached_seq.max(row.seq);
        match read_for_ledger(&row.subject, Some(&row.headers), row.seq, row.stored_at_ms) {
            Some(record) => self.watch.on_record(record, row.stored_at_ms),
            None => self.watch.on_no_record(row.seq, &row.subject),
        }
        if row.pending == 0 && !self.is_caught_up {
            self.on_caught_up();
        }
    }

    fn on_event(&mut self, row: &Row) {
        let Ok(batch) = codec::decode::<EventBatch>(Some(&row.headers), &row.body) else {
            return self.notes.push(format!("an event on {} cannot be read", row.subject));
        };
        for event in batch.anchored(row.stored_at_ms) {
            match (event.kind, event.job) {
                (EventKind::JobPlaced, Some(job)) => self.watch.on_placed(job, event.at_ms),
                (EventKind::InvariantViolated, _) => self.watch.on_violation(&event.detail),
                (EventKind::LeaderElected | EventKind::LeaderLost, _) if event.at_ms > self.noted_ms => {
                    self.noted_ms = event.at_ms;
                    self.notes.push(event.detail);
                }
                _ => {}
            }
        }
    }

    fn note_link(&mut self, connected: bool) {
        match (self.connected, connected) {
            (true, false) => self.notes.push("NATS does not answer: continuing when it does".into()),
            (false, true) => {
                self.notes.push("NATS is back".into());
                self.watch.on_interruption(unix_ms());
            }
            _ => {}
        }
        self.connected = connected;
    }

    fn note_leader(&mut self, standing: Standing) {
        match (self.scheduler_answers, standing) {
            (true, Standing::NoScheduler) => self.notes.push("no scheduler answers: open jobs wait until one leads".into()),
            (false, Standing::Led) => self.notes.push("a scheduler answers again".into()),
            // Of the link to NATS more is known here than that a question had no answer.
            _ => return,
        }
        self.scheduler_answers = standing == Standing::Led;
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::ledger::LedgerState;

    use super::*;

    #[test]
    fn the_link_is_told_when_it_changes() {
        let watch = Watch::new(LedgerState::default(), 0);
        let mut board = Board::new(watch, 0);
        for connected in [true, false, false, true, true] {
            board.note_link(connected);
        }
        assert_eq!(board.notes, ["NATS does not answer: continuing when it does", "NATS is back"]);
    }

    #[test]
    fn a_scheduler_that_does_not_answer_is_told_when_that_begins_and_when_it_is_over() {
        let mut board = Board::new(Watch::new(LedgerState::default(), 0), 0);
        for standing in [Standing::NoNats, Standing::Led, Standing::NoScheduler, Standing::NoNats, Standing::NoScheduler, Standing::Led] {
            board.note_leader(standing);
        }
        assert_eq!(board.notes, ["no scheduler answers: open jobs wait until one leads", "a scheduler answers again"]);
        assert!(board.scheduler_answers);
    }
}
