//! Jobs of Microsoft's Philly as the Sia artifact (SOSP'23) has them: `timestamp,duration,num_gpus,gpu_time,cluster`, in any order.

use super::builder::{Builder, Parsed, Reading, Whole};
use super::error::{BadRow, ReadError};
use super::format::Format;
use super::settings::{MAX_GPUS, ReadSettings};
use super::source::Source;
use super::table::{Row, Table};
use super::times::instant_ms;
use crate::workload::Fate;

pub(super) fn read(source: &Source, settings: &ReadSettings) -> Result<Reading, ReadError> {
    let mut table = Table::commas(source, &["timestamp", "duration", "num_gpus"])?;
    let mut builder = Builder::new(Format::PhillyCsv, true);
    for row in table.rows() {
        let row = row?;
        if let Some(parsed) = builder.take(job(&row, settings).map(Ok)) {
            builder.add(&parsed);
        }
    }
    builder.finish(source)
}

fn job<'a>(row: &'a Row<'_>, settings: &ReadSettings) -> Result<Parsed<'a>, BadRow> {
    row.whole()?;
    let timestamp = row.text("timestamp")?;
    let submit_ms =
        instant_ms(timestamp).ok_or_else(|| row.unexpected("timestamp", timestamp, "use a date such as 2017-10-09 07:01:55"))?;
    let (tasks, class) = Whole { gpus: row.number("num_gpus", 0, MAX_GPUS)?, ..Whole::default() }.divided(settings.node_gpus);
    Ok(Parsed {
        name: "",
        submit_ms,
        work_ms: row.seconds_ms("duration")?,
        estimate_ms: None,
        tasks,
        class,
        queue: row.optional("cluster"),
        user: "",
        priority: 0,
        status: "",
        fate: Fate::Unknown,
    })
}
