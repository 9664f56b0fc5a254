//! `audit --watch` on a terminal or as lines: what the watch sees is shown here.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;
use faultline_client::audit::{AuditWatch, Outcome, Seen};
use faultline_engine::ledger::watch::{Finding, Totals};
use serde::Serialize;
use tokio::time::sleep;

use super::link::Link;
use crate::exit::Failure;
use crate::interrupt::Interrupts;
use crate::output::{Format, Output, count, facts, plural, span};

const SHOW_EVERY: Duration = Duration::from_secs(1);
/// Without a terminal, a line of totals now and then.
const LINE_EVERY: u32 = 10;
/// Until Ctrl-C, or for so long.
pub(crate) async fn run(link: &Link, length: Option<Duration>) -> Result<(), Failure> {
    let watch = AuditWatch::begin(&link.nats).await?;
    let mut screen = Screen::new(link.out);
    let mut interrupts = Interrupts::listen()?;
    let over = async {
        match length {
            Some(length) => sleep(length).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        never = watch.follow() => match never {},
        // What was found decides how the command ends, also when its output has no reader.
        Err(error) = show(&watch, &mut screen) => if !matches!(error, Failure::ReaderGone) { return Err(error) },
        () = interrupts.next() => {}
        () = over => {}
    }
    match screen.draw(watch.take(), true) {
        Ok(()) | Err(Failure::ReaderGone) => {}
        Err(error) => return Err(error),
    }
    let Outcome { totals, findings, reached_seq, wanted_seq } = watch.end();
    if reached_seq < wanted_seq {
        let (reached, wanted) = (count(reached_seq), count(wanted_seq));
        return Err(Failure::Failed(anyhow!("RESULTS was read up to {reached} of {wanted} only: watch for longer")));
    }
    verdict(&totals, findings.iter())
}

fn verdict<'a>(totals: &Totals, mut findings: impl Iterator<Item = &'a Finding>) -> Result<(), Failure> {
    match findings.next() {
        Some(first) => Err(Failure::CheckFailed(format!("audit found {}: {first}", plural(totals.findings, "thing")))),
        None if totals.duplicates > 0 => Err(Failure::CheckFailed("the ledger has counted ends of jobs that had already ended".into())),
        None => Ok(()),
    }
}

/// Ends only when standard output cannot be written.
async fn show(watch: &AuditWatch, screen: &mut Screen) -> Result<Infallible, Failure> {
    loop {
        sleep(SHOW_EVERY).await;
        screen.draw(watch.take(), false)?;
    }
}

#[derive(Serialize)]
struct TotalsLine<'a> {
    at_ms: u64,
    connected: bool,
    scheduler_answers: bool,
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

    fn draw(&mut self, seen: Seen, last: bool) -> Result<(), Failure> {
        let Seen { at_ms, totals, connected, scheduler_answers, notes, mut news } = seen;
        news.retain(|finding| self.told.insert(finding.clone()));
        if self.out.format != Format::Table {
            for note in &notes {
                self.out.one(&NoteLine { at_ms, note }, |_| String::new())?;
            }
            for finding in &news {
                self.out.one(finding, |_| String::new())?;
            }
            return self.out.one(&TotalsLine { at_ms, connected, scheduler_answers, totals: &totals }, |_| String::new());
        }
        let away: Vec<&'static str> = [("nats", connected), ("scheduler", scheduler_answers)]
            .into_iter()
            .filter(|(_, is_here)| !is_here)
            .map(|(name, _)| name)
            .collect();
        self.clear();
        for text in notes.into_iter().chain(news.iter().map(|finding| format!("FOUND: {finding}"))) {
            self.out.text(&format!("{} {text}", crate::output::clock(at_ms)))?;
        }
        if self.out.is_terminal() {
            let block = self.out.render(facts(&rows(&totals, &away)));
            self.lines = block.lines().count();
            return self.out.text(&block);
        }
        let due = self.rounds.is_multiple_of(LINE_EVERY);
        self.rounds += 1;
        if due || last || !news.is_empty() {
            let line: Vec<String> = rows(&totals, &away).into_iter().map(|(name, value)| format!("{name} {value}")).collect();
            self.out.text(&line.join(", "))?;
        }
        Ok(())
    }

    /// Takes the block away.
    fn clear(&mut self) {
        if self.lines > 0 {
            // A terminal that went away is noticed with the next text.
            let _ = std::io::stdout().write_all(erase(self.lines).as_bytes());
            self.lines = 0;
        }
    }
}

/// Takes so many lines away: to the first column, where a terminal that echoed `^C` is not any more, up, and all to the end of the screen
/// (ECMA-48).
fn erase(lines: usize) -> String {
    format!("\r\x1b[{lines}A\x1b[J")
}

fn rows(totals: &Totals, away: &[&'static str]) -> Vec<(&'static str, String)> {
    let open = match totals.open {
        0 => "0".to_owned(),
        open => format!("{}, the oldest for {}", count(open), span(totals.oldest_open_ms)),
    };
    let mut rows = vec![
        ("submitted", count(totals.submitted)),
        ("open", open),
        ("committed", count(totals.committed)),
        ("given up", count(totals.dead)),
        ("cancelled", count(totals.cancelled)),
        ("abandoned", count(totals.abandoned.saturating_sub(totals.ended_lost))),
        ("ended twice", count(totals.duplicates)),
        ("lost", count(totals.lost)),
        ("violations", count(totals.violations)),
        ("found", count(totals.findings)),
    ];
    // They are rare, and have a place only when they are there.
    for (name, number) in
        [("lost with the store", totals.lost_with_store), ("brought back", totals.brought_back), ("messages uncounted", totals.forgotten)]
    {
        if number > 0 {
            rows.push((name, count(number)));
        }
    }
    rows.extend(away.iter().map(|&name| (name, "away".to_owned())));
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
        assert!(
            verdict(&Totals { missed: 1, ..Totals::default() }, [].iter()).is_ok(),
            "what expired uncounted is neither lost nor proven"
        );
    }

    #[test]
    fn the_block_is_erased_from_its_first_column_on() {
        // A terminal of three lines, as far as it matters here: two are shown, Ctrl-C is echoed, and the block is drawn anew.
        let (mut screen, mut row, mut column) = (vec!["submitted 5".to_owned(), "open 0".to_owned(), "^C".to_owned()], 2, 2);
        for part in erase(2).split_inclusive(['\r', 'A', 'J']) {
            match part {
                "\r" => column = 0,
                "\x1b[2A" => row -= 2,
                "\x1b[J" => screen = vec![screen[row].chars().take(column).collect()],
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(format!("{}submitted 6", screen[0]), "submitted 6");
    }

    #[test]
    fn the_oldest_open_job_is_shown_with_its_age() {
        let totals = Totals { open: 2, oldest_open_ms: 3_200, abandoned: 3, ended_lost: 2, lost: 2, dead: 4, ..Totals::default() };
        let rows = rows(&totals, &["nats"]);
        for (name, number) in [("abandoned", "1"), ("lost", "2"), ("given up", "4"), ("ended twice", "0")] {
            assert!(rows.contains(&(name, number.to_owned())), "a lost job is told once: {rows:?}");
        }
        assert!(rows.contains(&("open", "2, the oldest for 3.2 s".to_owned())));
        assert!(rows.contains(&("nats", "away".to_owned())));
    }
}
