//! Jobs of SenseTime's Helios (SC'21): `job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue`, with dates in
//! the cluster's local time.

use super::builder::{Builder, MAX_TASKS, Parsed, Reading, Whole};
use super::error::{BadRow, ReadError};
use super::format::Format;
use super::report::Dropped;
use super::settings::{MAX_GPUS, ReadSettings};
use super::source::Source;
use super::states::fate;
use super::table::{Row, Table};
use super::times::instant_ms;

pub(super) fn read(source: &Source, settings: &ReadSettings) -> Result<Reading, ReadError> {
    let mut table = Table::commas(source, &["job_id", "gpu_num", "state", "submit_time", "start_time", "duration"])?;
    let mut builder = Builder::new(Format::Helios, true);
    for row in table.rows() {
        let row = row?;
        if let Some(parsed) = builder.take(job(&row, settings)) {
            builder.add(&parsed);
        }
    }
    builder.finish(source)
}

fn job<'a>(row: &'a Row<'_>, settings: &ReadSettings) -> Result<Result<Parsed<'a>, Dropped>, BadRow> {
    row.whole()?;
    let submitted = row.text("submit_time")?;
    let submit_ms =
        instant_ms(submitted).ok_or_else(|| row.unexpected("submit_time", submitted, "use a date such as 2020-04-01 00:00:04"))?;
    if matches!(row.optional("start_time"), "" | "None" | "NULL" | "nan") {
        return Ok(Err(Dropped::NeverStarted));
    }
    if row.optional("duration").is_empty() {
        return Ok(Err(Dropped::NotEnded));
    }
    let whole = Whole {
        gpus: row.number("gpu_num", 0, MAX_GPUS)?,
        cpu_milli: 1_000 * row.number_or::<u64>("cpu_num", 0, 0, 10_000_000)?,
        memory_mib: 0,
        nodes: row.number_or("node_num", 0, 0, MAX_TASKS)?,
    };
    let (tasks, class) = whole.divided(settings.node_gpus);
    let state = row.optional("state");
    Ok(Ok(Parsed {
        name: row.optional("job_id"),
        submit_ms,
        work_ms: row.seconds_ms("duration")?,
        estimate_ms: None,
        tasks,
        class,
        queue: row.optional("vc"),
        user: row.optional("user"),
        priority: 0,
        status: state,
        fate: fate(state),
    }))
}
