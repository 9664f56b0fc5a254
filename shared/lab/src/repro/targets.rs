//! The results that can be computed again, by name, with the files that each needs.

use thiserror::Error;

use super::{Row, airesim, ettr, fgd, hbd, llama3, philly, rls};
use crate::faults::{Detector, read_recorded};
use crate::read::{self, ReadError, ReadSettings, Source};

/// Reads a file below the folder of traces, or says why not.
pub type ReadTrace<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Enough to compare: seconds each.
    Usual,
    /// All seeds and cases: minutes.
    Full,
}

/// One published result.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    /// What was published, and where.
    pub source: &'static str,
    /// What it reads below the folder of traces.
    pub files: &'static [&'static str],
    rows: fn(ReadTrace, Effort) -> Result<Vec<Row>, Failed>,
}

/// Why a result cannot be computed again.
#[derive(Debug, Error)]
pub enum Failed {
    #[error("{file} cannot be read: {why}; `just traces` fetches what may be fetched, --traces names a folder that has it")]
    Missing { file: String, why: String },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Other(String),
}

const FAULTS: &str = "faults/production_faults_days_0_174.csv";
const LUBLIN: &str = "swf/lublin_256.swf";
const PHILLY: &str = "philly/philly_two_vcs.csv";
/// Days that the file of faults covers.
const FAULT_DAYS: u64 = 174;

pub const TARGETS: [Target; 7] = [
    Target {
        name: "fgd",
        source: "allocation of six placement policies on openb: Weng et al., USENIX ATC'23",
        files: &[fgd::NODES, fgd::TRACES[0].file],
        rows: of_fgd,
    },
    Target { name: "rls", source: "bounded slowdown of queue orders on Lublin-1: Zhang et al., SC'20", files: &[LUBLIN], rows: of_rls },
    Target { name: "ettr", source: "ETTR against the exact formula: Meta, arXiv 2410.21680", files: &[], rows: of_ettr },
    Target { name: "llama3", source: "effective training time of 16,384 GPUs over 54 days: Llama 3", files: &[], rows: of_llama3 },
    Target { name: "airesim", source: "AIReSim's default: arXiv 2603.07041", files: &[], rows: of_airesim },
    Target { name: "hbd", source: "recorded faults of 400 nodes: InfiniteHBD-Trace", files: &[FAULTS], rows: of_hbd },
    Target {
        name: "philly",
        source: "two virtual clusters of Philly against an independent program: HeliosArtifact's rules, SC'21",
        files: &[PHILLY],
        rows: of_philly,
    },
];

impl Target {
    pub fn named(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Computes it.
    pub fn rows(&self, read: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
        (self.rows)(read, effort)
    }
}

fn source(read: ReadTrace, file: &str) -> Result<Source, Failed> {
    let bytes = read(file).map_err(|why| Failed::Missing { file: file.to_owned(), why })?;
    Ok(Source::from_bytes(file, bytes)?)
}

fn other(error: impl std::fmt::Display) -> Failed {
    Failed::Other(error.to_string())
}

/// The default list of tasks must be there; the others are computed if they are.
fn of_fgd(read: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
    let machines = read::nodes(&source(read, fgd::NODES)?)?;
    let mut rows = Vec::new();
    for (at, trace) in fgd::TRACES.iter().enumerate() {
        let tasks = match source(read, trace.file) {
            Err(Failed::Missing { .. }) if at > 0 => continue,
            read => read::openb_tasks(&read?)?,
        };
        rows.extend(fgd::rows(trace, &machines, &tasks).map_err(other)?);
        if effort == Effort::Usual {
            break;
        }
    }
    Ok(rows)
}

fn of_rls(read: ReadTrace, _: Effort) -> Result<Vec<Row>, Failed> {
    let reading = read::jobs(&source(read, LUBLIN)?, None, &ReadSettings::default())?;
    rls::rows(&reading.workload).map_err(other)
}

fn of_ettr(_: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
    let (cases, seeds) = match effort {
        Effort::Usual => (&ettr::CASES[..6], 1..6),
        Effort::Full => (&ettr::CASES[..], 1..21),
    };
    ettr::rows(cases, Detector::Instant, seeds).map_err(other)
}

fn of_llama3(_: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
    llama3::rows(if effort == Effort::Usual { 1..6 } else { 1..21 }).map_err(other)
}

fn of_airesim(_: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
    airesim::rows(if effort == Effort::Usual { 1..4 } else { 1..31 }).map_err(other)
}

fn of_hbd(read: ReadTrace, effort: Effort) -> Result<Vec<Row>, Failed> {
    let bytes = read(FAULTS).map_err(|why| Failed::Missing { file: FAULTS.to_owned(), why })?;
    let faults = read_recorded(bytes.as_slice(), None).map_err(other)?;
    let seeds = if effort == Effort::Usual { 1..6 } else { 1..21 };
    let predicted = hbd::predicted(faults.len(), hbd::NODES, FAULT_DAYS, seeds).map_err(other)?;
    let mut rows = hbd::rows(faults, hbd::NODES, FAULT_DAYS).map_err(other)?;
    rows.push(predicted);
    Ok(rows)
}

fn of_philly(read: ReadTrace, _: Effort) -> Result<Vec<Row>, Failed> {
    philly::rows(&read::jobs(&source(read, PHILLY)?, None, &ReadSettings::default())?).map_err(other)
}
