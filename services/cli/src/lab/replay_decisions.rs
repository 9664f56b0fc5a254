//! `faultline lab replay-decisions`: what leaders were told and decided, played to the same engine again.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use faultline_engine::scheduler::flight::{Difference, Entry, Header, Replay, VERSION};
use faultline_engine::words::{count, plural};
use serde::Serialize;

use crate::exit::Failure;
use crate::output::Output;

/// The longest line: a call of a leader carries what one message brought, and a message has at most a few MiB.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// A prefix that replays says nothing of what came after it.
const CUT_OFF: &str = "the recording ends in the middle of a line, so only what is before it could be compared; a leader that is killed leaves such an end, and so does a copy that is not complete";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayFlags {
    /// Recordings of leaders' terms, or folders of them, as the setting scheduler.record_decisions makes them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One term.
#[derive(Debug, Serialize)]
struct TermView {
    file: String,
    scheduler: String,
    epoch: u64,
    calls: u64,
    /// Decisions that were the same.
    decisions: u64,
    placements: u64,
    /// The recording ends within a line: its process was killed while it wrote.
    is_cut_off: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<DifferenceView>,
}

#[derive(Debug, Serialize)]
struct DifferenceView {
    /// Counted from 1.
    call_number: u64,
    at_ms: u64,
    call: String,
    recorded: Option<String>,
    replayed: Option<String>,
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        let Difference { call_number, at_ms, call, recorded, replayed } = difference;
        Self { call_number, at_ms, call: format!("{call:?}"), recorded, replayed }
    }
}

pub(super) fn run(out: &Output, flags: &ReplayFlags) -> Result<(), Failure> {
    let mut terms = Vec::new();
    for file in recordings(&flags.files)? {
        terms.push(replay(&file)?);
    }
    out.one(&terms, |terms| terms.iter().map(in_words).collect::<Vec<_>>().join("\n"))?;
    let differing = terms.iter().filter(|term| term.difference.is_some()).count();
    if differing > 0 {
        let of = count(terms.len() as u64);
        return Err(Failure::CheckFailed(format!("{} of {of} recordings differ from the engine of this build", count(differing as u64))));
    }
    match terms.iter().filter(|term| term.is_cut_off).collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::CheckFailed(format!("{}: {CUT_OFF}", one.file))),
        [first, ..] => {
            let cut = terms.iter().filter(|term| term.is_cut_off).count() as u64;
            Err(Failure::CheckFailed(format!(
                "{} of {}, {} among them: {CUT_OFF}",
                count(cut),
                plural(terms.len() as u64, "recording"),
                first.file
            )))
        }
    }
}

fn recordings(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path)
            .map_err(|error| Failure::Usage(format!("{}: {error}; give a recording or a folder that you may read", path.display())))?;
        let mut inside: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|file| is_recording(file)).collect();
        if inside.is_empty() {
            return Err(Failure::Usage(format!("{}: no recording (*.jsonl) is there; set scheduler.record_decisions", path.display())));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

fn is_recording(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "jsonl")
}

fn replay(path: &Path) -> Result<TermView, Failure> {
    let name = path.display().to_string();
    let unusable =
        |line: u64, why: String| Failure::Usage(format!("{name}, line {line}: {why}; give a file that scheduler.record_decisions made"));
    let file = File::open(path).map_err(|error| Failure::Usage(format!("{name}: {error}; give a recording or a folder of them")))?;
    let mut file = BufReader::new(file);
    let mut line = String::new();
    let mut next = |line: &mut String, number: u64| {
        line.clear();
        let bytes = file.by_ref().take(MAX_LINE_BYTES).read_line(line).map_err(|error| unusable(number, error.to_string()))?;
        if bytes as u64 == MAX_LINE_BYTES {
            return Err(unusable(number, format!("longer than {} bytes", count(MAX_LINE_BYTES))));
        }
        Ok(bytes)
    };
    next(&mut line, 1)?;
    let header: Header = serde_json::from_str(&line).map_err(|error| unusable(1, error.to_string()))?;
    if header.version != VERSION {
        return Err(unusable(1, format!("a recording of version {}, and this build reads version {VERSION}", header.version)));
    }
    let mut replay = Replay::begin(&header);
    let (mut difference, mut is_cut_off, mut number) = (None, false, 1);
    loop {
        number += 1;
        if next(&mut line, number)? == 0 {
            break;
        }
        if !line.ends_with('\n') {
            is_cut_off = true;
            break;
        }
        let entry: Entry = serde_json::from_str(&line).map_err(|error| unusable(number, error.to_string()))?;
        if let Err(differs) = replay.check(entry) {
            difference = Some(DifferenceView::from(*differs));
            break;
        }
    }
    let Replay { calls, decisions, placements, .. } = replay;
    Ok(TermView { file: name, scheduler: header.scheduler, epoch: header.epoch, calls, decisions, placements, is_cut_off, difference })
}

fn in_words(term: &TermView) -> String {
    let TermView { scheduler, epoch, file, .. } = term;
    let end = if term.is_cut_off { "; the recording ends in the middle of a line" } else { "" };
    let told = format!(
        "{scheduler}, epoch {epoch}: {}, {} with {} the same{end} ({file})",
        plural(term.calls, "call"),
        plural(term.decisions, "decision"),
        plural(term.placements, "placement")
    );
    let Some(difference) = &term.difference else { return told };
    let line = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "{told}\n  call {} differs: {}\n    recorded: {}\n    replayed: {}",
        count(difference.call_number),
        difference.call,
        line(&difference.recorded),
        line(&difference.replayed)
    )
}
