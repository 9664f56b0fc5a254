//! What became of a file's rows: used or dropped and why, and what the jobs that were used ask for.

use serde::Serialize;

use super::error::BadRow;
use super::format::Format;

/// Why a row gave no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// A field cannot be read; the first such rows are listed.
    BadField,
    /// It never started, so how long it would have run is unknown.
    NeverStarted,
    /// It still ran, or its end is missing.
    NotEnded,
    /// It asks for neither a GPU nor a processor.
    AsksForNothing,
    /// A step or a part of a job that has a row of its own.
    Step,
    /// The job has a later row: it was queued again.
    EarlierAttempt,
    /// A part of a job whose parts ask for different things, which a gang of equal tasks cannot be.
    Heterogeneous,
}

impl Dropped {
    pub fn as_str(self) -> &'static str {
        match self {
            Dropped::BadField => "a field cannot be read",
            Dropped::NeverStarted => "never started",
            Dropped::NotEnded => "no end: it still ran",
            Dropped::AsksForNothing => "asks for no GPU and no processor",
            Dropped::Step => "a step of a job with its own row",
            Dropped::EarlierAttempt => "an earlier attempt of a job that was queued again",
            Dropped::Heterogeneous => "a part of a heterogeneous job",
        }
    }
}

/// Rows that were dropped for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DroppedRows {
    pub reason: Dropped,
    pub rows: u64,
}

/// The jobs of one status, in the trace's own word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatusShare {
    pub status: String,
    pub jobs: u64,
    /// Their GPU time: thousandths of GPUs times milliseconds.
    pub gpu_milli_ms: u128,
}

/// What a reader made of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReadReport {
    pub format: Format,
    /// Rows behind the header; comments and empty lines are none.
    pub rows: u64,
    /// Rows that became a job.
    pub used: u64,
    /// The most rows first.
    pub dropped: Vec<DroppedRows>,
    /// The first rows with a field that cannot be read.
    pub bad_rows: Vec<BadRow>,
    /// Of the jobs that are used, the most jobs first, and of equal ones the one that comes first in the file. Empty when the file does not give them.
    pub statuses: Vec<StatusShare>,
    /// From the first submission to the last.
    pub span_ms: u64,
    /// The instant of the first submission in seconds since 1970, when the file has dates.
    pub begins_s: Option<u64>,
    /// GPU time of all jobs that are used: thousandths of GPUs times milliseconds.
    pub gpu_milli_ms: u128,
    /// How many processors or GPUs the machine of the trace had, when the file says so.
    pub processors: Option<u64>,
    /// What a reader of the figures should know.
    pub notes: Vec<String>,
}

impl ReadReport {
    /// GPU time asked for between the first and the last submission, as a share of what so many GPUs have in that time; above 1 the queue only
    /// grows. `None` when all jobs come at once.
    pub fn offered_load(&self, gpus: u64) -> Option<f64> {
        let capacity = u128::from(gpus) * 1_000 * u128::from(self.span_ms);
        (capacity > 0).then(|| self.gpu_milli_ms as f64 / capacity as f64)
    }

    pub fn gpu_hours(&self) -> f64 {
        hours(self.gpu_milli_ms)
    }
}

impl StatusShare {
    pub fn gpu_hours(&self) -> f64 {
        hours(self.gpu_milli_ms)
    }
}

fn hours(gpu_milli_ms: u128) -> f64 {
    gpu_milli_ms as f64 / 3.6e9
}
