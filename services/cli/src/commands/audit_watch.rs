//! `audit --watch`: follows RESULTS and EVENTS, looks at JOBS now and then, and has `engine::ledger::watch` say what is wrong.
//! It goes on through restarts of NATS and changes of the leader, and says so.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::anyhow;
use faultline_engine::job::JobState;
use faultline_engine::ledger::LedgerRecord;
use faultline_engine::ledger::watch::{Finding, Totals, Watch};
use faultline_protocol::codec::{self, HEADER_JOB_STATE};
use faultline_protocol::messages::{EventBatch, EventKind, LedgerSnapshot};
use faultline_protocol::streams::{self, KEY_LEDGER, KV_LEDGER};
use faultline_protocol::subjects;
use faultline_runtime::clock::unix_ms;
use faultline_runtime::connect::{Nats, kv_get};
use faultline_runtime::record::{OPEN, read_record_surely};
use futures::StreamExt;
use serde::Serialize;
use tokio::time::sleep;

use super::ask::Link;
use super::audit::{jobs_in_queue, last_sequence, read_violations};
use super::control::bucket_failure;
use super::read::{From, Reader, Row};
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Format, Output, count, facts, plural, span};

/// One round of reading; messages are taken at once as they come.
const ROUND: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(1);
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Without a terminal, a line of totals now and then.
const LINE_EVERY: u32 = 10;
/// The subjects of JOBS are listed this often: with a long queue that costs the server something.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Open markers that are read again with each look, in turn.
const REREAD: usize = 500;
const READS_AT_ONCE: usize = 32;

/// What the tasks of one watch share; none of them holds it while it waits.
struct Board {
    watch: Watch,
    /// What happened to the watch and to the cluster, not yet shown.
    notes: Vec<String>,
    connected: bool,
    /// RESULTS as long as it was at the beginning has been read.
    wanted_seq: u64,
}

impl Board {
    fn on_result(&mut self, row: &Row) {
        let header = row.headers.get(HEADER_JOB_STATE).map(|state| state.as_str());
        let state = if header == Some(OPEN) { Some(JobState::Queued) } else { header.and_then(JobState::terminal) };
        match (subjects::result_job_id(&row.subject), state) {
            (Some(job), Some(state)) => self.watch.on_record(LedgerRecord { seq: row.seq, job, state }, row.stored_at_ms),
            _ => self.watch.on_no_record(row.seq, &row.subject),
        }
    }

    fn on_event(&mut self, row: &Row) {
        let Ok(batch) = codec::decode::<EventBatch>(Some(&row.headers), &row.body) else {
            return self.notes.push(format!("an event on {} cannot be read", row.subject));
        };
        for event in batch.events {
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
            (true, false) => self.notes.push("NATS is away: going on when it is back".into()),
            (false, true) => {
                self.notes.push("NATS is back".into());
                self.watch.on_interruption(unix_ms());
            }
            _ => {}
        }
        self.connected = connected;
    }
}

/// Until Ctrl-C, or for so long.
pub(crate) async fn run(link: &Link, length: Option<Duration>) -> Result<(), Failure> {
    let store = link.nats.bucket(KV_LEDGER).await.map_err(bucket_failure)?;
    let ledger: LedgerSnapshot = kv_get(&store, KEY_LEDGER).await.map_err(bucket_failure)?.unwrap_or_default();
    let wanted_seq = last_sequence(&link.nats).await?;
    let began_ms = unix_ms();
    let mut watch = Watch::new(ledger, began_ms);
    for violation in read_violations(&link.nats).await? {
        watch.on_violation(&violation);
    }
    let board = RefCell::new(Board { watch, notes: Vec::new(), connected: true, wanted_seq });
    let mut screen = Screen::new(link.out);
    let mut interrupts = Interrupts::listen()?;
    let over = async {
        match length {
            Some(length) => sleep(length).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = follow(&link.nats, streams::RESULTS, From::Start, &board, Board::on_result) => match never {},
        never = follow(&link.nats, streams::EVENTS, From::Time(began_ms), &board, Board::on_event) => match never {},
        never = look(&link.nats, &board) => match never {},
        ended = show(&link.nats, &board, &mut screen) => return ended,
        () = interrupts.next() => {}
        () = over => {}
    }
    let mut board = board.into_inner();
    screen.draw(&mut board, true)?;
    if board.watch.through_seq() < board.wanted_seq {
        let (reached, wanted) = (count(board.watch.through_seq()), count(board.wanted_seq));
        return Err(Failure::Failed(anyhow!("RESULTS was read up to {reached} of {wanted} only: watch for longer")));
    }
    verdict(&board.watch.totals(unix_ms()), board.watch.findings())
}

fn verdict<'a>(totals: &Totals, mut findings: impl Iterator<Item = &'a Finding>) -> Result<(), Failure> {
    match findings.next() {
        Some(first) => Err(Failure::CheckFailed(format!("audit found {}: {first}", plural(totals.findings, "thing")))),
        None if totals.duplicates > 0 => Err(Failure::CheckFailed("the ledger has counted ends of jobs that had already ended".into())),
        None if totals.missed > 0 => Err(Failure::CheckFailed("records expired before the ledger had read them".into())),
        None => Ok(()),
    }
}

async fn follow(nats: &Nats, stream: &'static str, from: From, board: &RefCell<Board>, take: fn(&mut Board, &Row)) -> Infallible {
    let mut reader = Reader::new(nats, stream, from);
    if stream == streams::RESULTS {
        reader = reader.headers_only();
    }
    loop {
        let round = reader.follow(ROUND, |row| {
            take(&mut board.borrow_mut(), &row);
            ControlFlow::Continue(())
        });
        if let Err(error) = round.await {
            tracing::debug!(stream, error = format!("{error:#}"), "reading goes on later");
            sleep(PAUSE).await;
        }
    }
}

/// Compares what is open with what JOBS holds and with the records themselves, now and then.
async fn look(nats: &Nats, board: &RefCell<Board>) -> Infallible {
    loop {
        let looked_at_ms = unix_ms();
        match jobs_in_queue(nats).await {
            Ok(queue) => board.borrow_mut().watch.on_queue(&queue.jobs, looked_at_ms),
            Err(failure) => tracing::debug!(%failure, "JOBS could not be looked at"),
        }
        let through = board.borrow().watch.through_seq();
        if let Ok(last) = last_sequence(nats).await
            && last < through
        {
            let what = format!("RESULTS ends here, and was read up to {through} before: messages are gone, or it was made anew");
            board.borrow_mut().watch.on_no_record(last, &what);
        }
        let jobs = board.borrow_mut().watch.to_reread(REREAD, unix_ms());
        let reads = futures::stream::iter(jobs).map(|job| async move { (job, read_record_surely(nats, job).await) });
        let mut reads = reads.buffer_unordered(READS_AT_ONCE);
        while let Some((job, read)) = reads.next().await {
            if let Ok(found) = read {
                board.borrow_mut().watch.on_reread(job, found.is_some());
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Ends only when standard output cannot be written.
async fn show(nats: &Nats, board: &RefCell<Board>, screen: &mut Screen) -> Result<(), Failure> {
    loop {
        sleep(SHOW_EVERY).await;
        let mut board = board.borrow_mut();
        board.note_link(nats.is_connected());
        screen.draw(&mut board, false)?;
    }
}

#[derive(Serialize)]
struct TotalsLine<'a> {
    at_ms: u64,
    connected: bool,
    #[serde(flatten)]
    totals: &'a Totals,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    at_ms: u64,
    note: &'a str,
}

/// Where it is shown: a block that is written over on a terminal, lines elsewhere.
struct Screen {
    out: Output,
    /// Lines of the block that is on the terminal.
    lines: usize,
    rounds: u32,
    told: BTreeSet<Finding>,
}

impl Screen {
    fn new(out: Output) -> Self {
        Self { out: out.endless(), lines: 0, rounds: 0, told: BTreeSet::new() }
    }

    fn draw(&mut self, board: &mut Board, last: bool) -> Result<(), Failure> {
        let at_ms = unix_ms();
        let totals = board.watch.totals(at_ms);
        let notes = std::mem::take(&mut board.notes);
        let mut news = board.watch.take_news();
        news.retain(|finding| self.told.insert(finding.clone()));
        if self.out.format != Format::Table {
            for note in &notes {
                self.out.one(&NoteLine { at_ms, note }, |_| String::new())?;
            }
            for finding in &news {
                self.out.one(finding, |_| String::new())?;
            }
            return self.out.one(&TotalsLine { at_ms, connected: board.connected, totals: &totals }, |_| String::new());
        }
        self.clear();
        for text in notes.into_iter().chain(news.iter().map(|finding| format!("FOUND: {finding}"))) {
            self.out.text(&format!("{} {text}", crate::output::clock(at_ms)))?;
        }
        if self.out.is_terminal() {
            let block = self.out.render(facts(&rows(&totals, board.connected)));
            self.lines = block.lines().count();
            return self.out.text(&block);
        }
        let due = self.rounds.is_multiple_of(LINE_EVERY);
        self.rounds += 1;
        if due || last || !news.is_empty() {
            let line: Vec<String> = rows(&totals, board.connected).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
            self.out.text(&line.join(", "))?;
        }
        Ok(())
    }

    /// Takes the block away.
    fn clear(&mut self) {
        if self.lines > 0 {
            // ECMA-48: cursor up, erase to the end of the screen. A terminal that went away is noticed with the next text.
            let _ = write!(std::io::stdout(), "\x1b[{}A\x1b[J", self.lines);
            self.lines = 0;
        }
    }
}

fn rows(totals: &Totals, connected: bool) -> Vec<(&'static str, String)> {
    let open = match totals.open {
        0 => "0".to_owned(),
        open => format!("{}, the oldest for {}", count(open), span(totals.oldest_open_ms)),
    };
    let mut rows = vec![
        ("submitted", count(totals.submitted)),
        ("open", open),
        ("committed", count(totals.committed)),
        ("dead", count(totals.dead)),
        ("cancelled", count(totals.cancelled)),
        ("abandoned", count(totals.abandoned)),
        ("duplicates", count(totals.duplicates)),
        ("lost", count(totals.lost)),
        ("violations", count(totals.violations)),
        ("found", count(totals.findings)),
    ];
    if !connected {
        rows.push(("nats", "away".to_owned()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_clean_only_when_nothing_at_all_was_found() {
        let clean = Totals::default();
        assert!(verdict(&clean, [].iter()).is_ok());
        let code = |totals: &Totals, findings: &[Finding]| verdict(totals, findings.iter()).unwrap_err().code();
        assert_eq!(code(&Totals { findings: 1, ..Totals::default() }, &[Finding::NoRecord { seq: 1, what: "x".into() }]), 5);
        assert_eq!(code(&Totals { duplicates: 1, ..Totals::default() }, &[]), 5);
        assert_eq!(code(&Totals { missed: 1, ..Totals::default() }, &[]), 5);
    }

    #[test]
    fn the_link_is_told_when_it_changes() {
        let watch = Watch::new(LedgerSnapshot::default(), 0);
        let mut board = Board { watch, notes: Vec::new(), connected: true, wanted_seq: 0 };
        for connected in [true, false, false, true, true] {
            board.note_link(connected);
        }
        assert_eq!(board.notes, ["NATS is away: going on when it is back", "NATS is back"]);
    }

    #[test]
    fn the_oldest_open_job_is_shown_with_its_age() {
        let rows = rows(&Totals { open: 2, oldest_open_ms: 3_200, ..Totals::default() }, false);
        assert!(rows.contains(&("open", "2, the oldest for 3.2 s".to_owned())));
        assert!(rows.contains(&("nats", "away".to_owned())));
    }
}
