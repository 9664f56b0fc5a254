//! Tasks and nodes in the columns of Alibaba's cluster-trace-gpu-v2023, which is called openb. Columns that are not read may be there.

use faultline_planner::{MAX_NODE_GPUS, TaskClass, WHOLE_GPU_MILLI};

use super::builder::{Builder, LARGEST, Parsed, Reading};
use super::error::{BadRow, ReadError};
use super::format::Format;
use super::report::Dropped;
use super::source::Source;
use super::table::{Row, Table};
use crate::workload::Fate;

const DEMAND: [&str; 4] = ["cpu_milli", "memory_mib", "num_gpu", "gpu_milli"];

/// What the tasks of a file ask for, without their times: the first bad row is an error, as a fill is a statement about all of them.
pub fn tasks(source: &Source) -> Result<Vec<TaskClass>, ReadError> {
    let mut table = Table::commas(source, &DEMAND)?;
    let failed = |bad| ReadError::Row { file: source.name.clone(), bad };
    let tasks: Vec<TaskClass> = table.rows().map(|row| demand(&row?).map_err(failed)).collect::<Result<_, _>>()?;
    if tasks.is_empty() { Err(ReadError::NoRows { file: source.name.clone() }) } else { Ok(tasks) }
}

pub(super) fn read(source: &Source) -> Result<Reading, ReadError> {
    let columns = [&DEMAND[..], &["creation_time", "deletion_time", "scheduled_time"]].concat();
    let mut table = Table::commas(source, &columns)?;
    let mut builder = Builder::new(Format::Openb, false);
    let mut has_running = false;
    for row in table.rows() {
        let row = row?;
        let Some((class, submit_ms, work_ms)) = builder.take(times(&row)) else { continue };
        let status = row.optional("pod_phase");
        has_running |= status == "Running";
        builder.add(&Parsed {
            name: row.optional("name"),
            submit_ms,
            work_ms,
            estimate_ms: None,
            tasks: 1,
            class,
            queue: row.optional("qos"),
            user: "",
            priority: 0,
            status,
            fate: match status {
                "Succeeded" => Fate::Passed,
                "Failed" => Fate::Failed,
                _ => Fate::Unknown,
            },
        });
    }
    if has_running {
        let note = "Tasks that the trace calls Running have an end all the same: the instant when the trace was taken, or later.";
        builder.notes.push(note.to_owned());
    }
    builder.finish(source)
}

/// A task with its submission and its run time.
fn times(row: &Row<'_>) -> Result<Result<(TaskClass, u64, u64), Dropped>, BadRow> {
    row.whole()?;
    let class = demand(row)?;
    let submit_ms = row.seconds_ms("creation_time")?;
    if row.optional("scheduled_time").is_empty() {
        return Ok(Err(Dropped::NeverStarted));
    }
    if row.optional("deletion_time").is_empty() {
        return Ok(Err(Dropped::NotEnded));
    }
    let (start_ms, end_ms) = (row.seconds_ms("scheduled_time")?, row.seconds_ms("deletion_time")?);
    let Some(work_ms) = end_ms.checked_sub(start_ms) else {
        return Err(row.invalid("deletion_time", "it is before `scheduled_time`", "correct one of them"));
    };
    Ok(Ok((class, submit_ms, work_ms)))
}

fn demand(row: &Row<'_>) -> Result<TaskClass, BadRow> {
    row.whole()?;
    let gpus = row.number("num_gpu", 0, MAX_NODE_GPUS as u16)?;
    let gpu_milli = row.number("gpu_milli", 0, WHOLE_GPU_MILLI)?;
    if gpus > 0 && gpu_milli == 0 {
        return Err(row.invalid("gpu_milli", "a task with a GPU takes nothing of it", "use 1 to 1000, or 0 as `num_gpu`"));
    }
    Ok(TaskClass {
        cpu_milli: row.number("cpu_milli", 0, LARGEST)?,
        memory_mib: row.number("memory_mib", 0, LARGEST)?,
        gpus,
        gpu_milli: if gpus == 0 { 0 } else { gpu_milli },
        models: models(row.optional("gpu_spec")),
        ..TaskClass::default()
    })
}

/// Acceptable models, separated by `|`.
pub(super) fn models(text: &str) -> Vec<String> {
    text.split('|').map(str::trim).filter(|model| !model.is_empty()).map(str::to_owned).collect()
}
