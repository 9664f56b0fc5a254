//! Traces and clusters from files: seven formats of jobs become a [`Workload`](crate::workload::Workload) with a report of what was dropped and why.
//!
//! A row that cannot be used is dropped and counted, because a trace of a hundred thousand jobs is worth reading with three broken ones; the
//! report names the first of them. docs/traces.md has the formats.

mod builder;
mod error;
mod format;
mod helios;
mod jobs;
mod nodes;
mod openb;
mod philly_csv;
mod philly_json;
mod report;
mod sacct;
mod settings;
mod source;
mod states;
mod swf;
mod table;
mod times;
mod tres;

#[cfg(test)]
mod tests;

pub use builder::Reading;
pub use error::{BadRow, Place, ReadError};
pub use format::Format;
pub use jobs::TraceRow;
pub use nodes::nodes;
pub use openb::tasks as openb_tasks;
pub use report::{Dropped, DroppedRows, ReadReport, StatusShare};
pub use settings::{Processors, ReadSettings};
pub use source::Source;

/// The jobs of a file: in the format that is named, or else in the one that its first line shows.
pub fn jobs(source: &Source, format: Option<Format>, settings: &ReadSettings) -> Result<Reading, ReadError> {
    match format.map_or_else(|| Format::of(source), Ok)? {
        Format::Openb => openb::read(source),
        Format::Swf => swf::read(source, settings),
        Format::PhillyCsv => philly_csv::read(source, settings),
        Format::PhillyJson => philly_json::read(source, settings),
        Format::Helios => helios::read(source, settings),
        Format::Sacct => sacct::read(source, settings),
        Format::Jobs => jobs::read(source),
    }
}
