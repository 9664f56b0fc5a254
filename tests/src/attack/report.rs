//! What came of an attack: a table for people, one line of JSON for programs, and what was wrong.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::{Process, Settings};
use crate::up::text;

const MIB: u64 = 1024 * 1024;
/// What the server may need for each message that was sent: it stores half of them for an hour and more, with an index in its memory.
const STORED_BYTES: u64 = 512;

/// One run.
#[derive(Debug)]
pub struct Report {
    settings: Settings,
    before: BTreeMap<String, Process>,
    after: BTreeMap<String, Process>,
    /// By what they were aimed at.
    pub sent: BTreeMap<&'static str, u64>,
    pub took: Duration,
    /// What should not have happened, in words.
    pub wrong: Vec<String>,
    /// The last lines of the cluster's log.
    pub log_tail: String,
    log_lines: usize,
}

impl Report {
    pub(super) fn new(settings: &Settings, before: BTreeMap<String, Process>) -> Self {
        let (after, sent, took) = (before.clone(), BTreeMap::new(), Duration::ZERO);
        let (wrong, log_tail) = (Vec::new(), String::new());
        let mut report = Self { settings: settings.clone(), before, after, sent, took, wrong, log_tail, log_lines: 0 };
        // NATS, detector, two schedulers, two workers, dashboard, generator.
        if report.before.len() != 8 {
            report.wrong.push(format!("8 processes were awaited, not {}: {:?}", report.before.len(), report.before.keys()));
        }
        report
    }

    pub(super) fn note_jobs(&mut self, output: &Output) {
        if !output.status.success() {
            self.wrong.push(format!("not all normal jobs committed: {}", text(output)));
        }
    }

    pub(super) fn note_late_jobs(&mut self, output: &Output) {
        if !output.status.success() {
            self.wrong.push(format!("with garbage in RESULTS not all jobs committed: {}", text(output)));
        }
    }

    pub(super) fn note_calm(&mut self, calm: Result<(), String>) {
        if let Err(wrong) = calm {
            self.wrong.push(format!("the cluster is not as before: {wrong}"));
        }
    }

    pub(super) fn note_processes(&mut self, after: BTreeMap<String, Process>) {
        for (name, before) in &self.before {
            let Some(now) = after.get(name) else {
                self.wrong.push(format!("{name} does not run any more"));
                continue;
            };
            if (now.pid, now.restarts) != (before.pid, before.restarts) {
                self.wrong.push(format!("{name} was started again: process {} is {} now", before.pid, now.pid));
            }
            let grown = now.resident_kib.saturating_sub(before.resident_kib) / 1024;
            let most =
                self.settings.max_growth_mib + if name.starts_with("nats") { self.settings.messages * STORED_BYTES / MIB } else { 0 };
            if grown > most {
                self.wrong.push(format!("{name} grew by {grown} MiB, more than {most} MiB"));
            }
        }
        self.after = after;
    }

    pub(super) fn note_clean_audit(&mut self, audit: &Output) {
        if !audit.status.success() {
            self.wrong.push(format!("the audit is not clean: {}", text(audit)));
        }
    }

    pub(super) fn note_dirty_audit(&mut self, audit: &Output) {
        if audit.status.code() != Some(5) {
            self.wrong.push(format!("the audit does not find the garbage in RESULTS (exit {:?}): {}", audit.status.code(), text(audit)));
        }
    }

    /// Nothing of what was sent steers the terminal that shows the log.
    pub(super) fn note_log(&mut self, log: &str) {
        if let Some(line) = log.lines().find(|line| line.contains(|c: char| c.is_control() && c != '\t')) {
            self.wrong.push(format!("a line of the log holds control characters: {line:?}"));
        }
        let lines: Vec<&str> = log.lines().collect();
        self.log_lines = lines.len();
        self.log_tail = lines[lines.len().saturating_sub(60)..].join("\n");
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut sent = Table::new();
        sent.load_style(presets::NOTHING);
        sent.set_header(["SENT TO", "MESSAGES"]);
        for (target, count) in &self.sent {
            sent.add_row([(*target).to_owned(), count.to_string()]);
        }
        let mut memory = Table::new();
        memory.load_style(presets::NOTHING);
        memory.set_header(["PROCESS", "PID", "MIB BEFORE", "MIB AFTER", "RESTARTS"]);
        for (name, before) in &self.before {
            let (after, restarts) = self.after.get(name).map_or((0, 0), |after| (after.resident_kib, after.restarts));
            let row = [before.pid, before.resident_kib / 1024, after / 1024, restarts].map(|figure| figure.to_string());
            memory.add_row(std::iter::once(name.clone()).chain(row));
        }
        let verdict = match self.wrong.as_slice() {
            [] => "nothing was wrong".to_owned(),
            wrong => format!("WRONG:\n{}", wrong.join("\n")),
        };
        let (total, seconds) = (self.sent.values().sum::<u64>(), self.took.as_secs_f64());
        format!(
            "{}\n\n{}\n\n{total} malformed messages, seed {}, {seconds:.1} s, {} lines of log; {verdict}",
            sent.trim_fmt(),
            memory.trim_fmt(),
            self.settings.seed,
            self.log_lines
        )
    }

    /// For programs.
    pub fn figures(&self) -> Value {
        let growth = |(name, before): (&String, &Process)| {
            let after = self.after.get(name).map_or(0, |after| after.resident_kib);
            (name.clone(), json!({ "before_kib": before.resident_kib, "after_kib": after }))
        };
        json!({
            "messages": self.sent.values().sum::<u64>(),
            "seed": self.settings.seed,
            "took_s": self.took.as_secs_f64(),
            "memory": self.before.iter().map(growth).collect::<serde_json::Map<_, _>>(),
            "wrong": self.wrong,
        })
    }
}
