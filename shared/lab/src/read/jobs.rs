//! Faultline's own table of jobs. Only `submit_s`, `duration_s`, and `gpu_milli` must be there.

use faultline_planner::{MAX_NODE_GPUS, TaskClass, WHOLE_GPU_MILLI};
use serde::Serialize;

use super::builder::{Builder, LARGEST, MAX_TASKS, Parsed, Reading};
use super::error::{BadRow, ReadError};
use super::format::Format;
use super::openb::models;
use super::source::Source;
use super::table::{Row, Table};
use crate::workload::Fate;

/// A row of the table, for those who write one. Field names are the columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceRow {
    pub name: String,
    pub submit_s: f64,
    pub duration_s: f64,
    pub tasks: u32,
    pub gpu_milli: u32,
    /// Joined by `|`; any when empty.
    pub models: String,
    pub user: String,
    pub priority: u8,
    pub estimate_s: Option<f64>,
    pub status: &'static str,
}

pub(super) fn read(source: &Source) -> Result<Reading, ReadError> {
    let mut table = Table::commas(source, &["submit_s", "duration_s", "gpu_milli"])?;
    let mut builder = Builder::new(Format::Jobs, false);
    for row in table.rows() {
        let row = row?;
        if let Some(parsed) = builder.take(job(&row).map(Ok)) {
            builder.add(&parsed);
        }
    }
    builder.finish(source)
}

fn job<'a>(row: &'a Row<'_>) -> Result<Parsed<'a>, BadRow> {
    row.whole()?;
    let status = row.optional("status");
    Ok(Parsed {
        name: row.optional("name"),
        submit_ms: row.seconds_ms("submit_s")?,
        work_ms: row.seconds_ms("duration_s")?,
        estimate_ms: if row.optional("estimate_s").is_empty() { None } else { Some(row.seconds_ms("estimate_s")?) },
        tasks: row.number_or("tasks", 1, 1, MAX_TASKS)?,
        class: class(row)?,
        queue: row.optional("queue"),
        user: row.optional("user"),
        priority: row.number_or("priority", 0, 0, u8::MAX)?,
        status,
        fate: match status {
            "passed" => Fate::Passed,
            "failed" => Fate::Failed,
            "killed" => Fate::Killed,
            "unknown" | "" => Fate::Unknown,
            other => return Err(row.unexpected("status", other, "use passed, failed, killed, or unknown")),
        },
    })
}

/// `gpu_milli` is what one task takes in all: up to 1000 a share of one GPU, above that whole GPUs.
fn class(row: &Row<'_>) -> Result<TaskClass, BadRow> {
    let whole = u32::from(WHOLE_GPU_MILLI);
    let gpu_milli: u32 = row.number("gpu_milli", 0, MAX_NODE_GPUS as u32 * whole)?;
    if gpu_milli > whole && !gpu_milli.is_multiple_of(whole) {
        return Err(row.invalid("gpu_milli", "more than one GPU, and not whole ones", "use at most 1000, or a multiple of 1000"));
    }
    Ok(TaskClass {
        cpu_milli: row.number_or("cpu_milli", 0, 0, LARGEST)?,
        memory_mib: row.number_or("memory_mib", 0, 0, LARGEST)?,
        gpus: gpu_milli.div_ceil(whole) as u16,
        gpu_milli: gpu_milli.min(whole) as u16,
        models: models(row.optional("models")),
        ..TaskClass::default()
    })
}
