//! What must be true after a chaos run, checked against the journals, the witness, the records, the audit and the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use faultline_engine::job::{JobId, JobState};
use faultline_protocol::codec;
use faultline_protocol::messages::TerminalRecord;
use faultline_runtime::connect::Nats;
use faultline_runtime::record::read_record;
use futures::StreamExt;
use serde_json::{Value, json};

use super::Settings;
use super::load::{Entries, Journal, may_end};
use super::plan::{
    BUCKETS_PER_MIN, CLOCK_JUMPS_PER_MIN, FILLS_PER_MIN, KILLS_PER_MIN, NATS_FREEZES_PER_MIN, NATS_KILLS_PER_MIN, Plan, SUBMITTERS,
};
use super::stage::Stage;
use super::witness::{Record, Witness};

/// Jobs a minute that must have ended, at least.
const JOBS_PER_MIN: f64 = 4_000.0;
const READS_AT_ONCE: usize = 64;
/// Findings of one kind that are spelled out.
const NAMED: usize = 10;

/// What the run itself measured.
#[derive(Debug, Clone, Copy)]
pub struct Evidence {
    pub acted: Duration,
    pub healed_in: Duration,
    /// Whether everything ended in time.
    pub ended: bool,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Report {
    pub figures: Value,
    /// What is wrong; empty when the run has passed.
    pub wrong: Vec<String>,
    pub table: String,
}

#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    lost: u64,
    twice: u64,
    states: BTreeMap<&'static str, u64>,
}

impl Findings {
    fn all(&mut self, what: &str, which: &[String]) {
        if !which.is_empty() {
            let named = which.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            self.wrong.push(format!("{} {what}: {named}", which.len()));
        }
    }
}

pub async fn judge(settings: &Settings, plan: &Plan, stage: &mut Stage, witness: Witness, evidence: Evidence) -> anyhow::Result<Report> {
    let nats = stage.cluster.nats.clone();
    let record = witness.finish();
    let mut own = Entries::default();
    for index in 1..=SUBMITTERS {
        let entries = Journal::read(&stage.journal(index))?;
        own.ids.extend(entries.ids);
        own.confirmed.extend(entries.confirmed);
        own.refused.extend(entries.refused);
    }
    let mut found = Findings::default();
    if !evidence.ended {
        let open: Vec<String> = record.jobs.iter().filter(|(_, seen)| seen.ends.is_empty()).map(|(job, _)| job.to_string()).collect();
        found.wrong.push(format!(
            "not everything ended in time; {} jobs are open: {}",
            open.len(),
            open.iter().take(NAMED).cloned().collect::<Vec<_>>().join(" ")
        ));
    }
    judge_jobs(&own, &record, &mut found);
    judge_records(&nats, &record, &mut found).await;
    let violations = judge_cluster(settings, stage, &mut found).await;
    let replayed = judge_decisions(stage, &mut found);
    let kills = judge_size(settings, stage, found.states.values().sum(), &mut found);
    let ids: BTreeSet<JobId> = own.ids.iter().copied().collect();
    let figures = json!({
        "seed": settings.seed,
        "seconds": evidence.acted.as_secs(),
        "healed_in_s": evidence.healed_in.as_secs(),
        "nats": stage.cluster.server.description(),
        "jobs": record.jobs.len(),
        "jobs_own": ids.len(),
        "jobs_generated": record.jobs.keys().filter(|job| !ids.contains(job)).count(),
        "ended": found.states,
        "kills": kills,
        "done": stage.done,
        "planned_kills": plan.kills(),
        "lost": found.lost,
        "twice": found.twice,
        "violations": violations,
        "terms_replayed": replayed.terms,
        "decisions_replayed": replayed.decisions,
        "ended_by_themselves": stage.ended.len(),
        "most_memory_mib": stage.memory_kib.values().max().copied().unwrap_or(0) / 1024,
        "passed": found.wrong.is_empty(),
    });
    let table = table(settings, stage, &figures, &found);
    Ok(Report { figures, wrong: found.wrong, table })
}

/// Every job ended exactly once, and as it should have.
fn judge_jobs(own: &Entries, record: &Record, found: &mut Findings) {
    let (mut lost, mut twice, mut odd) = (Vec::new(), Vec::new(), Vec::new());
    for id in own.ids.iter().collect::<BTreeSet<_>>() {
        let seen = record.jobs.get(id);
        // Unconfirmed and never seen: it was not submitted.
        let was_submitted = own.confirmed.contains(id) || seen.is_some();
        if was_submitted && seen.is_none_or(|seen| seen.ends.is_empty()) {
            lost.push(id.to_string());
        }
        for (_, state) in seen.iter().flat_map(|seen| &seen.ends) {
            let swept = *state == JobState::Abandoned && own.confirmed.contains(id);
            if swept || !may_end(*id, *state) {
                odd.push(format!("{id} {}", state.as_str()));
            }
        }
    }
    for (job, seen) in &record.jobs {
        if seen.ends.len() > 1 || seen.openings.len() > 1 {
            twice.push(format!("{job} {seen:?}"));
        }
        if let Some((_, state)) = seen.ends.first() {
            *found.states.entry(state.as_str()).or_default() += 1;
        }
    }
    (found.lost, found.twice) = (lost.len() as u64, twice.len() as u64);
    found.all("lost", &lost);
    found.all("ended twice", &twice);
    found.all("ended as they should not", &odd);
    found.all("messages in RESULTS are not records", &record.strange);
}

/// What lies in RESULTS is what the witness saw, and a committed result is that of an attempt in the job's path.
async fn judge_records(nats: &Nats, record: &Record, found: &mut Findings) {
    let jobs: Vec<(JobId, u64, JobState)> =
        record.jobs.iter().filter_map(|(job, seen)| seen.ends.last().map(|(seq, state)| (*job, *seq, *state))).collect();
    let checks = futures::stream::iter(jobs).map(|(job, seq, state)| async move { check_record(nats, job, seq, state).await });
    let wrong: Vec<String> = checks.buffer_unordered(READS_AT_ONCE).filter_map(std::future::ready).collect().await;
    found.all("records are not what they should be", &wrong);
}

async fn check_record(nats: &Nats, job: JobId, seq: u64, state: JobState) -> Option<String> {
    let read = match read_record(nats, job).await {
        Err(reason) => return Some(format!("{job} cannot be read: {reason}")),
        // Ended more than ten minutes ago.
        Ok(None) => return None,
        Ok(Some(read)) => read,
    };
    if read.seq != seq || read.terminal_state() != Some(state) {
        return Some(format!(
            "{job} ended at {seq}, and its record is now {} at {}",
            if read.is_open { "open" } else { "another end" },
            read.seq
        ));
    }
    let record = match codec::decode::<TerminalRecord>(Some(&read.headers), &read.body) {
        Ok(record) => record,
        Err(error) => return Some(format!("{job}: {error}")),
    };
    let by_its_path =
        state != JobState::Committed || record.attempt.is_some_and(|attempt| record.history.iter().any(|row| row.attempt == attempt));
    (!by_its_path).then(|| format!("{job} was committed by {:?}, which is not in its path", record.attempt))
}

/// How much of what leaders decided was decided again.
#[derive(Default)]
struct Replayed {
    terms: u64,
    decisions: u64,
}

/// Every leader was told the same as its recording, so the engine decides the same from it.
fn judge_decisions(stage: &Stage, found: &mut Findings) -> Replayed {
    let folder = stage.decisions();
    let replay = stage.cluster.faultline(&["lab", "replay-decisions", &folder.to_string_lossy(), "-o", "json"]);
    let terms: Vec<Value> = serde_json::from_slice(&replay.stdout).unwrap_or_default();
    let differing: Vec<String> = terms.iter().filter(|term| !term["difference"].is_null()).map(Value::to_string).collect();
    found.all("recorded terms were decided otherwise when they were played again", &differing);
    // A leader that is killed while it writes leaves an end in the middle of a line.
    let is_cut = terms.iter().any(|term| term["is_cut_off"] == true);
    if !replay.status.success() && differing.is_empty() && !is_cut {
        found.wrong.push(format!("recorded decisions cannot be replayed: {}", String::from_utf8_lossy(&replay.stderr)));
    }
    let sum = |of: &str| terms.iter().filter_map(|term| term[of].as_u64()).sum();
    let replayed = Replayed { terms: terms.len() as u64, decisions: sum("decisions") };
    if replayed.decisions == 0 {
        found.wrong.push("no decision was recorded".into());
    }
    replayed
}

/// The cluster's own word, and the state of its processes.
async fn judge_cluster(settings: &Settings, stage: &mut Stage, found: &mut Findings) -> u64 {
    stage.watch();
    let audit = stage.cluster.faultline(&["audit", "--wait", "60s"]);
    if !audit.status.success() {
        let text = format!("{}{}", String::from_utf8_lossy(&audit.stdout), String::from_utf8_lossy(&audit.stderr));
        found.wrong.push(format!("audit exits with {:?}:\n{text}", audit.status.code()));
    }
    let stats = stage.cluster.stats().await;
    let violations = stats.as_ref().map_or(0, |stats| stats.violations_total);
    match stats {
        None => found.wrong.push("no scheduler answers".into()),
        Some(stats) if violations > 0 => found.wrong.push(format!("{violations} invariants were broken: {}", stats.last_violation)),
        Some(_) => {}
    }
    let ended: Vec<String> = stage.ended.iter().cloned().collect();
    found.all("processes ended by themselves", &ended);
    found.all("panics in the logs", &stage.cluster.lines_with("panicked at"));
    found.all("broken invariants in the logs", &stage.cluster.lines_with("an invariant is broken"));
    let fat: Vec<String> = stage
        .memory_kib
        .iter()
        .filter(|(_, kib)| **kib > settings.max_memory_mib * 1024)
        .map(|(name, kib)| format!("{name} {} MiB", kib / 1024))
        .collect();
    found.all(&format!("processes had more than {} MiB", settings.max_memory_mib), &fat);
    violations
}

/// A run that did too little has shown nothing. Returns the kills, submitters' left out.
fn judge_size(settings: &Settings, stage: &Stage, ended: u64, found: &mut Findings) -> u64 {
    let minutes = settings.length.as_secs_f64() / 60.0;
    let of_nats = stage.done.get("kill nats").copied().unwrap_or(0);
    let kills = stage.done.iter().filter(|(what, _)| what.starts_with("kill ") && *what != "kill submitter").map(|(_, count)| count).sum();
    let mut at_least = |what: &str, is: u64, needed: f64| {
        if (is as f64) < needed {
            found.wrong.push(format!("too little was done: {is} {what}, at least {needed:.0} are needed"));
        }
    };
    at_least("jobs ended", ended, JOBS_PER_MIN * minutes);
    at_least("kills", kills, (KILLS_PER_MIN * minutes).floor());
    at_least("kills of NATS", of_nats, (NATS_KILLS_PER_MIN * minutes).floor());
    let freezes = stage.done.get("freeze nats").copied().unwrap_or(0);
    let clocks: u64 = stage.done.iter().filter(|(what, _)| what.starts_with("clock ")).map(|(_, count)| count).sum();
    at_least("wall clocks set", clocks, (CLOCK_JUMPS_PER_MIN * minutes).floor());
    at_least("freezes of NATS", freezes, (NATS_FREEZES_PER_MIN * minutes).floor());
    let done = |what: &str| stage.done.get(what).copied().unwrap_or(0);
    at_least("buckets made anew", done("bucket made anew"), (BUCKETS_PER_MIN * minutes).floor());
    if stage.disk.is_some() {
        at_least("fillings of the disk", done("disk filled"), (FILLS_PER_MIN * minutes).floor());
    }
    kills
}

fn table(settings: &Settings, stage: &Stage, figures: &Value, found: &Findings) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let mut row = |name: &str, value: String| _ = writeln!(text, "{name:<22}{value}");
    row("seed", settings.seed.to_string());
    for name in ["seconds", "healed_in_s", "jobs", "jobs_own", "jobs_generated"] {
        row(name, figures[name].to_string());
    }
    for (state, count) in &found.states {
        row(state, count.to_string());
    }
    for (what, count) in &stage.done {
        row(what, count.to_string());
    }
    for name in ["kills", "lost", "twice", "violations", "terms_replayed", "decisions_replayed", "ended_by_themselves", "most_memory_mib"] {
        row(name, figures[name].to_string());
    }
    row("result", if found.wrong.is_empty() { "passed".into() } else { "FAILED".into() });
    for wrong in &found.wrong {
        row("wrong", wrong.clone());
    }
    text
}
