//! What a set of runs leaves behind: tables as CSV, and the manifest that says what they were made from.
//!
//! Everything here goes from values to text and back. Files are read and written by the command. Reports are made from these rows alone, so
//! that a report can be made again from a folder.

mod compare;
mod csv_text;
mod manifest;
mod metric;
mod rows;
mod shared;
mod size;
mod summary;
mod waiting;

pub use compare::compare;
pub use csv_text::{Unreadable, from_csv, to_csv, usage_from_csv, usage_to_csv};
pub use manifest::{Contents, Expectation, Input, Manifest, RunHash, Took, Varied, sha256};
pub use metric::{Better, METRICS, Metric};
pub use rows::{AttemptLine, CompareLine, FaultLine, Group, JobLine, SummaryLine, Table, UsageLine};
pub(crate) use shared::over_shared_seeds;
pub use size::SizeClass;
pub use summary::{Run, attempt_lines, fault_lines, job_lines, summarize, usage_lines};
pub use waiting::{Waiting, WaitingRow};
