//! The audit as things happen: follows RESULTS and EVENTS, looks at JOBS now and then, and has `engine::ledger::watch` say what is wrong. It
//! goes on through restarts of NATS and changes of the leader, and says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use faultline_engine::ledger::survey::Survey;
use faultline_engine::ledger::watch::{Finding, Totals, Watch};
use faultline_protocol::codec;
use faultline_protocol::messages::{EventBatch, EventKind};
use faultline_protocol::streams::{self, KV_LEDGER};
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::Nats;
use faultline_runtime::read::{From, Reader, Row};
use faultline_runtime::record::{read_for_ledger, read_record_surely};
use faultline_runtime::sight::Look as StreamLook;
use futures::StreamExt;
use tokio::time::{Instant, sleep};

use super::{jobs_in_queue, read_violations, stored_ledger, stream_look};
use crate::ClientError;

/// One round of reading; messages are taken at once as they come.
const ROUND: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
/// The subjects of JOBS are listed this often: with a long queue that costs the server something.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// When something is missing.
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
    /// How far RESULTS was read, and how long it was at the beginning.
    pub reached_seq: u64,
    pub wanted_seq: u64,
}

impl AuditWatch {
    pub async fn begin(nats: &Nats) -> Result<Self, ClientError> {
        let store = nats.bucket(KV_LEDGER).await?;
        let ledger = stored_ledger(&store).await?;
        let wanted_seq = stream_look(nats, streams::RESULTS).await?.sight.last_seq;
        let began_ms = unix_ms();
        let mut watch = Watch::new(ledger, began_ms);
        for violation in read_violations(nats).await? {
            watch.on_violation(&violation);
        }
        let board = RefCell::new(Board { watch, notes: Vec::new(), connected: true, wanted_seq });
        Ok(Self { nats: nats.clone(), store, began_ms, board })
    }

    /// Goes on for ever; dropped when enough was seen.
    pub async fn follow(&self) -> Infallible {
        tokio::select! {
            never = self.read(streams::RESULTS, From::Start, Board::on_result) => never,
            never = self.read(streams::EVENTS, From::Time(self.began_ms), Board::on_event) => never,
            never = self.look() => never,
        }
    }

    /// What there is to show since the last call.
    pub fn take(&self) -> Seen {
        let mut board = self.board.borrow_mut();
        board.note_link(self.nats.is_connected());
        let at_ms = unix_ms();
        let (totals, notes, news) = (board.watch.totals(at_ms), std::mem::take(&mut board.notes), board.watch.take_news());
        Seen { at_ms, totals, connected: board.connected, notes, news }
    }

    pub fn end(self) -> Outcome {
        let Board { watch, wanted_seq, .. } = self.board.into_inner();
        Outcome {
            totals: watch.totals(unix_ms()),
            findings: watch.findings().cloned().collect(),
            reached_seq: watch.through_seq(),
            wanted_seq,
        }
    }

    async fn read(&self, stream: &'static str, from: From, take: fn(&mut Board, &Row)) -> Infallible {
        let mut reader = Reader::new(&self.nats, stream, from);
        if stream == streams::RESULTS {
            reader = reader.headers_only();
        }
        loop {
            let round = reader.follow(ROUND, |row| {
                take(&mut self.board.borrow_mut(), &row);
                ControlFlow::Continue(())
            });
            if let Err(error) = round.await {
                tracing::debug!(stream, %error, "reading goes on later");
                sleep(PAUSE).await;
            }
        }
    }

    /// Compares what is open with what JOBS holds and with the records themselves, now and then.
    async fn look(&self) -> Infallible {
        loop {
            if let Err(error) = self.survey().await {
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
            let pause = if self.board.borrow().watch.wants_survey() { LOOK_AGAIN } else { LOOK_EVERY };
            sleep(pause).await;
        }
    }

    /// JOBS first, then the leader's own books, then RESULTS up to where it is now: what left JOBS for a reason had ended by then.
    async fn survey(&self) -> Result<(), ClientError> {
        let queue = jobs_in_queue(&self.nats).await?;
        let ledger = stored_ledger(&self.store).await?;
        let last_seq = stream_look(&self.nats, streams::RESULTS).await?.sight.last_seq;
        let through = self.board.borrow().watch.through_seq();
        if last_seq < through {
            let what = format!("RESULTS ends here, and was read up to {through} before: messages are gone, or it was recreated");
            self.board.borrow_mut().watch.on_no_record(last_seq, &what);
            return Ok(());
        }
        let give_up = Instant::now() + READ_LIMIT;
        while self.board.borrow().watch.through_seq() < last_seq {
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
    /// RESULTS as long as it was at the beginning has been read.
    wanted_seq: u64,
}

impl Board {
    fn on_result(&mut self, row: &Row) {
        match read_for_ledger(&row.subject, Some(&row.headers), row.seq, row.stored_at_ms) {
            Some(record) => self.watch.on_record(record, row.stored_at_ms),
            None => self.watch.on_no_record(row.seq, &row.subject),
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
                (EventKind::LeaderElected | EventKind::LeaderLost, _) => self.notes.push(event.detail),
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
}

#[cfg(test)]
mod tests {
    use faultline_engine::ledger::LedgerState;

    use super::*;

    #[test]
    fn the_link_is_told_when_it_changes() {
        let watch = Watch::new(LedgerState::default(), 0);
        let mut board = Board { watch, notes: Vec::new(), connected: true, wanted_seq: 0 };
        for connected in [true, false, false, true, true] {
            board.note_link(connected);
        }
        assert_eq!(board.notes, ["NATS does not answer: continuing when it does", "NATS is back"]);
    }
}
