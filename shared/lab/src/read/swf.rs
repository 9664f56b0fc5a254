//! The Standard Workload Format: 18 numbers a line, -1 for unknown, comments behind `;`, of which those in front are the header. Fields behind the
//! 18th are left alone.
//! <https://www.cs.huji.ac.il/labs/parallel/workload/swf.html>

use faultline_engine::words::plural;
use faultline_planner::TaskClass;

use super::builder::{Builder, LARGEST, Parsed, Reading, Whole};
use super::error::{BadRow, Place, ReadError};
use super::format::Format;
use super::report::Dropped;
use super::settings::{MAX_GPUS, Processors, ReadSettings};
use super::source::Source;
use super::table::{seconds_ms, short};
use crate::workload::Fate;

const FIELDS: [&str; 18] = [
    "job number",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average CPU time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
];

/// Positions in [`FIELDS`].
const NUMBER: usize = 0;
const SUBMIT: usize = 1;
const RUN: usize = 3;
const ALLOCATED: usize = 4;
const REQUESTED: usize = 7;
const REQUESTED_TIME: usize = 8;
const REQUESTED_MEMORY: usize = 9;
const STATUS: usize = 10;
const USER: usize = 11;
const QUEUE: usize = 14;
const PRECEDING: usize = 16;

pub(super) fn read(source: &Source, settings: &ReadSettings) -> Result<Reading, ReadError> {
    source.check_lines()?;
    let mut builder = Builder::new(Format::Swf, false);
    let mut follow = 0_u64;
    for (number, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix(';') {
            header(&mut builder, comment);
        } else if !line.is_empty() {
            let line = Line { number: number as u64 + 1, fields: line.split_whitespace().collect() };
            if let Some(job) = builder.take(job(&line)) {
                follow += u64::from(!matches!(line.text(PRECEDING), "-1" | "0"));
                add(&mut builder, &line, &job, settings);
            }
        }
    }
    if follow > 0 {
        let jobs = plural(follow, "job");
        builder.notes.push(format!(
            "{jobs} came after the end of another (field 17). Here they come when they came then, whenever that other ends."
        ));
    }
    builder.finish(source)
}

/// `MaxProcs` is what a machine has; older files say it as `MaxNodes`.
fn header(builder: &mut Builder, comment: &str) {
    let Some((key, value)) = comment.split_once(':') else { return };
    let number = value.split_whitespace().next().and_then(|value| value.parse::<u64>().ok());
    match (key.trim(), number) {
        ("MaxProcs", Some(processors)) => builder.processors = Some(processors),
        ("MaxNodes", Some(nodes)) => builder.processors = builder.processors.or(Some(nodes)),
        _ => {}
    }
}

struct Line<'a> {
    number: u64,
    fields: Vec<&'a str>,
}

impl Line<'_> {
    fn invalid(&self, field: usize, why: &str, remedy: &str) -> BadRow {
        let field = format!("{} ({})", field + 1, FIELDS[field]);
        BadRow { place: Place::Line(self.number), field, why: why.to_owned(), remedy: remedy.to_owned() }
    }

    fn text(&self, field: usize) -> &str {
        self.fields.get(field).copied().unwrap_or_default()
    }

    /// `None` for -1.
    fn number(&self, field: usize) -> Result<Option<f64>, BadRow> {
        let text = self.text(field);
        let number = text.parse::<f64>().ok().filter(|number| *number == -1.0 || (0.0..=4e9).contains(number));
        let remedy = "use a number from 0 to 4000000000, or -1 for unknown";
        let number = number.ok_or_else(|| self.invalid(field, &format!("unexpected `{}`", short(text, 40)), remedy))?;
        Ok((number >= 0.0).then_some(number))
    }

    fn milliseconds(&self, field: usize) -> Result<Option<u64>, BadRow> {
        Ok(self.number(field)?.and_then(|_| seconds_ms(self.text(field))))
    }

    /// What stands for a user or a queue; empty for -1.
    fn name(&self, field: usize) -> &str {
        Some(self.text(field)).filter(|text| *text != "-1").unwrap_or_default()
    }
}

struct Job {
    submit_ms: u64,
    work_ms: u64,
    estimate_ms: Option<u64>,
    processors: u32,
    memory_mib: u64,
    fate: Fate,
}

fn job(line: &Line<'_>) -> Result<Result<Job, Dropped>, BadRow> {
    if line.fields.len() < FIELDS.len() {
        let why = format!("missing: the line has {} of 18 fields", line.fields.len());
        return Err(line.invalid(line.fields.len(), &why, "use -1 for unknown"));
    }
    let fate = match line.text(STATUS) {
        "1" => Fate::Passed,
        "0" => Fate::Failed,
        "5" => Fate::Killed,
        "-1" => Fate::Unknown,
        "2" | "3" | "4" => return Ok(Err(Dropped::Step)),
        other => return Err(line.invalid(STATUS, &format!("unexpected `{}`", short(other, 40)), "use -1 or 0 to 5")),
    };
    let Some(submit_ms) = line.milliseconds(SUBMIT)? else {
        return Err(line.invalid(SUBMIT, "unknown", "leave out the job"));
    };
    // A job that was canceled while it waited has a run time of 0.
    let work_ms = match line.milliseconds(RUN)? {
        None => return Ok(Err(Dropped::NotEnded)),
        Some(0) if fate == Fate::Killed => return Ok(Err(Dropped::NeverStarted)),
        Some(work_ms) => work_ms,
    };
    let processors = line.number(ALLOCATED)?.unwrap_or(0.0).max(line.number(REQUESTED)?.unwrap_or(0.0));
    if processors == 0.0 {
        return Ok(Err(Dropped::AsksForNothing));
    }
    if processors > f64::from(MAX_GPUS) {
        return Err(line.invalid(ALLOCATED, &format!("{processors} processors"), &format!("use at most {MAX_GPUS}")));
    }
    let memory_kib = line.number(REQUESTED_MEMORY)?.unwrap_or(0.0);
    Ok(Ok(Job {
        submit_ms,
        work_ms,
        estimate_ms: line.milliseconds(REQUESTED_TIME)?,
        processors: processors as u32,
        memory_mib: (memory_kib / 1024.0).ceil() as u64,
        fate,
    }))
}

/// A processor is the smallest thing that can be handed out, so each is a task of its own.
fn add(builder: &mut Builder, line: &Line<'_>, job: &Job, settings: &ReadSettings) {
    let is_gpu = settings.processors == Processors::Gpus;
    let one = Whole {
        gpus: u32::from(is_gpu),
        cpu_milli: if is_gpu { 0 } else { 1_000 },
        memory_mib: job.memory_mib.min(LARGEST.into()),
        nodes: 1,
    };
    let (_, class): (_, TaskClass) = one.divided(1);
    builder.add(&Parsed {
        name: line.text(NUMBER),
        submit_ms: job.submit_ms,
        work_ms: job.work_ms,
        estimate_ms: job.estimate_ms,
        tasks: job.processors,
        class,
        queue: line.name(QUEUE),
        user: line.name(USER),
        priority: 0,
        status: match job.fate {
            Fate::Passed => "completed",
            Fate::Failed => "failed",
            Fate::Killed => "canceled",
            Fate::Unknown => "",
        },
        fate: job.fate,
    });
}
