//! What Slurm's `sacct -P` prints: values separated by `|`, a row for each job and, unless `-X` was given, one for each of its steps.
//!
//! `sacct -a -X -P --duplicates -S 2026-01-01 -o JobID,User,Partition,Submit,Start,End,Elapsed,Timelimit,State,NNodes,NCPUS,AllocTRES,ReqTRES`

use std::collections::HashMap;

use super::builder::{Builder, MAX_TASKS, Parsed, Reading, Whole};
use super::error::{BadRow, ReadError};
use super::format::Format;
use super::report::Dropped;
use super::settings::ReadSettings;
use super::source::Source;
use super::states::fate;
use super::table::{Row, Table};
use super::times::{instant_ms, slurm_ms};
use super::tres::Tres;

const COLUMNS: [&str; 5] = ["JobID", "Submit", "Start", "End", "State"];

/// A job's row: owned, because a later row may take its place.
struct Job {
    id: String,
    user: String,
    partition: String,
    state: String,
    submit_ms: u64,
    work_ms: u64,
    estimate_ms: Option<u64>,
    tres: Tres,
    nodes: u32,
    cpus: u64,
}

pub(super) fn read(source: &Source, settings: &ReadSettings) -> Result<Reading, ReadError> {
    let mut table = Table::bars(source, &COLUMNS)?;
    let mut builder = Builder::new(Format::Sacct, true);
    if !["AllocTRES", "ReqTRES"].iter().any(|column| table.has(column)) {
        builder.notes.push("The file has neither AllocTRES nor ReqTRES, so no job asks for a GPU.".to_owned());
    }
    let mut jobs: Vec<Job> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut first_submit_ms: HashMap<String, u64> = HashMap::new();
    for row in table.rows() {
        let row = row?;
        if row.whole().is_ok() {
            note_submission(&row, &mut first_submit_ms);
        }
        let Some(mut job) = builder.take(job(&row)) else { continue };
        match known.get(&job.id) {
            Some(at) => {
                builder.drop_row(Dropped::EarlierAttempt);
                job.submit_ms = job.submit_ms.min(jobs[*at].submit_ms);
                jobs[*at] = job;
            }
            None => {
                known.insert(job.id.clone(), jobs.len());
                jobs.push(job);
            }
        }
    }
    for mut job in jobs {
        job.submit_ms = first_submit_ms.get(&job.id).map_or(job.submit_ms, |first_ms| job.submit_ms.min(*first_ms));
        add(&mut builder, job, settings);
    }
    builder.finish(source)
}

/// Slurm writes the instant of queueing again as the submission of the later row. The job waits since the first one.
fn note_submission(row: &Row<'_>, first_submit_ms: &mut HashMap<String, u64>) {
    if is_requeued(row.optional("State"))
        && let Some(submit_ms) = instant_ms(row.optional("Submit"))
    {
        first_submit_ms
            .entry(row.optional("JobID").to_owned())
            .and_modify(|first_ms| *first_ms = submit_ms.min(*first_ms))
            .or_insert(submit_ms);
    }
}

/// Its work goes on in a later row of the same job.
fn is_requeued(state: &str) -> bool {
    state == "REQUEUED"
}

fn job(row: &Row<'_>) -> Result<Result<Job, Dropped>, BadRow> {
    row.whole()?;
    let id = row.text("JobID")?;
    if id.contains('.') {
        return Ok(Err(Dropped::Step));
    }
    let state = row.text("State")?.split_whitespace().next().unwrap_or_default();
    if is_requeued(state) {
        return Ok(Err(Dropped::EarlierAttempt));
    }
    if matches!(row.optional("Start"), "" | "Unknown" | "None") {
        return Ok(Err(Dropped::NeverStarted));
    }
    if matches!(row.optional("End"), "" | "Unknown" | "None") {
        return Ok(Err(Dropped::NotEnded));
    }
    // Parts of a heterogeneous job are `1+0`, `1+1`, ...: they start together, with demands of their own.
    if id.contains('+') {
        return Ok(Err(Dropped::Heterogeneous));
    }
    let tres = |column: &str| Tres::parse(row.optional(column)).map_err(|why| row.invalid(column, &why, "use the TRES that sacct prints"));
    let (allocated, asked) = (tres("AllocTRES")?, tres("ReqTRES")?);
    let cpus = row.number_or::<u64>("NCPUS", 0, 0, 100_000_000)?;
    Ok(Ok(Job {
        id: id.to_owned(),
        user: row.optional("User").to_owned(),
        partition: row.optional("Partition").to_owned(),
        state: state.to_owned(),
        submit_ms: instant(row, "Submit")?,
        work_ms: work_ms(row)?,
        estimate_ms: limit_ms(row)?,
        tres: allocated.asked_as(asked),
        nodes: row.number_or("NNodes", 0, 0, MAX_TASKS)?,
        cpus,
    }))
}

fn instant(row: &Row<'_>, column: &str) -> Result<u64, BadRow> {
    let text = row.text(column)?;
    instant_ms(text).ok_or_else(|| row.unexpected(column, text, "use a date such as 2026-01-31T12:00:00, or seconds since 1970"))
}

/// `Elapsed` leaves out the time in which the job was suspended.
fn work_ms(row: &Row<'_>) -> Result<u64, BadRow> {
    let (elapsed, raw) = (row.optional("Elapsed"), row.optional("ElapsedRaw"));
    if !raw.is_empty() {
        return row.seconds_ms("ElapsedRaw");
    }
    if !elapsed.is_empty() {
        return slurm_ms(elapsed).ok_or_else(|| row.unexpected("Elapsed", elapsed, "use [days-]hours:minutes:seconds"));
    }
    let took_ms = instant(row, "End")?.checked_sub(instant(row, "Start")?);
    took_ms.ok_or_else(|| row.invalid("End", "it is before `Start`", "correct one of them"))
}

fn limit_ms(row: &Row<'_>) -> Result<Option<u64>, BadRow> {
    let raw = row.optional("TimelimitRaw");
    let (column, limit) = if raw.is_empty() { ("Timelimit", row.optional("Timelimit")) } else { ("TimelimitRaw", raw) };
    match limit {
        "" | "UNLIMITED" | "Partition_Limit" | "INVALID" => Ok(None),
        _ => slurm_ms(limit).map(Some).ok_or_else(|| row.unexpected(column, limit, "use [days-]hours:minutes:seconds, or UNLIMITED")),
    }
}

fn add(builder: &mut Builder, job: Job, settings: &ReadSettings) {
    let Tres { gpus, models, memory_mib, cpus } = job.tres;
    let whole = Whole { gpus, cpu_milli: 1_000 * if cpus > 0 { cpus } else { job.cpus }, memory_mib, nodes: job.nodes };
    let (tasks, mut class) = whole.divided(settings.node_gpus);
    if class.gpus > 0 {
        class.models = models;
    }
    builder.add(&Parsed {
        name: &job.id,
        submit_ms: job.submit_ms,
        work_ms: job.work_ms,
        estimate_ms: job.estimate_ms,
        tasks,
        class,
        queue: &job.partition,
        user: &job.user,
        priority: 0,
        status: &job.state,
        fate: fate(&job.state),
    });
}
