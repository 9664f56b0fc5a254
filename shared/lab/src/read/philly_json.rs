//! `cluster_job_log` of Microsoft's Philly (ATC'19): a JSON list of jobs with their attempts. Each attempt says on which machines it had which GPUs;
//! times may be missing.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use super::builder::{Builder, Parsed, Reading, Whole};
use super::error::{BadRow, Place, ReadError};
use super::format::Format;
use super::report::Dropped;
use super::settings::{MAX_GPUS, ReadSettings};
use super::source::Source;
use super::table::short;
use super::times::instant_ms;
use crate::workload::Fate;

#[derive(Deserialize)]
struct Job {
    status: String,
    vc: String,
    jobid: String,
    submitted_time: String,
    #[serde(default)]
    user: Option<String>,
    attempts: Vec<Attempt>,
}

#[derive(Deserialize)]
struct Attempt {
    #[serde(default)]
    start_time: Option<String>,
    #[serde(default)]
    end_time: Option<String>,
    #[serde(default)]
    detail: Vec<Machine>,
}

#[derive(Deserialize)]
struct Machine {
    gpus: Vec<Value>,
}

pub(super) fn read(source: &Source, settings: &ReadSettings) -> Result<Reading, ReadError> {
    let mut builder = Builder::new(Format::PhillyJson, true);
    let not_json = |error: serde_json::Error| ReadError::NotJson { file: source.name.clone(), why: error.to_string() };
    let mut json = serde_json::Deserializer::from_str(&source.text);
    List { builder: &mut builder, settings: *settings }.deserialize(&mut json).map_err(not_json)?;
    json.end().map_err(not_json)?;
    builder.notes.push("A job's run time is that of all its attempts together, with the GPUs of the last one.".to_owned());
    builder.finish(source)
}

/// Takes job after job, so that the list is never there as a whole.
struct List<'a> {
    builder: &'a mut Builder,
    settings: ReadSettings,
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut item = 0;
        while let Some(value) = list.next_element::<Value>()? {
            item += 1;
            take(self.builder, item, value, &self.settings);
        }
        Ok(())
    }
}

fn take(builder: &mut Builder, item: u64, value: Value, settings: &ReadSettings) {
    let job: Result<Job, _> = serde_path_to_error::deserialize(value);
    let job = job.map_err(|error| {
        let field = error.path().to_string();
        BadRow {
            place: Place::Item(item),
            field,
            why: short(&error.inner().to_string(), 100),
            remedy: "use the columns of cluster_job_log".to_owned(),
        }
    });
    let measured = job.and_then(|job| Ok(measured(item, &job)?.map(|measured| (job, measured))));
    let Some((job, Measured { submit_ms, work_ms, whole })) = builder.take(measured) else { return };
    let (tasks, class) = whole.divided(settings.node_gpus);
    builder.add(&Parsed {
        name: &job.jobid,
        submit_ms,
        work_ms,
        estimate_ms: None,
        tasks,
        class,
        queue: &job.vc,
        user: job.user.as_deref().unwrap_or_default(),
        priority: 0,
        status: &job.status,
        fate: match job.status.as_str() {
            "Pass" => Fate::Passed,
            "Failed" => Fate::Failed,
            "Killed" => Fate::Killed,
            _ => Fate::Unknown,
        },
    });
}

struct Measured {
    submit_ms: u64,
    work_ms: u64,
    whole: Whole,
}

fn measured(item: u64, job: &Job) -> Result<Result<Measured, Dropped>, BadRow> {
    let bad = |field: String, why: String, remedy: &str| BadRow { place: Place::Item(item), field, why, remedy: remedy.to_owned() };
    let instant = |field: String, text: &str| {
        let remedy = "use a date such as 2017-10-09 07:01:55";
        instant_ms(text).ok_or_else(|| bad(field, format!("unexpected `{}`", short(text, 40)), remedy))
    };
    let submit_ms = instant("submitted_time".to_owned(), &job.submitted_time)?;
    let mut work_ms = 0;
    for (position, attempt) in job.attempts.iter().enumerate() {
        let Some(start) = known(&attempt.start_time) else { continue };
        let Some(end) = known(&attempt.end_time) else { return Ok(Err(Dropped::NotEnded)) };
        let field = |name: &str| format!("attempts[{position}].{name}");
        let (start_ms, end_ms) = (instant(field("start_time"), start)?, instant(field("end_time"), end)?);
        let took_ms = end_ms.checked_sub(start_ms);
        work_ms += took_ms.ok_or_else(|| bad(field("end_time"), "it is before `start_time`".to_owned(), "correct one of them"))?;
    }
    let Some(last) = job.attempts.iter().rfind(|attempt| known(&attempt.start_time).is_some()) else {
        return Ok(Err(Dropped::NeverStarted));
    };
    let gpus: usize = last.detail.iter().map(|machine| machine.gpus.len()).sum();
    let is_even = last.detail.windows(2).all(|pair| pair[0].gpus.len() == pair[1].gpus.len());
    let gpus = u32::try_from(gpus).ok().filter(|gpus| *gpus <= MAX_GPUS);
    let gpus = gpus.ok_or_else(|| bad("attempts.detail".to_owned(), "too many GPUs".to_owned(), &format!("use at most {MAX_GPUS}")))?;
    let nodes = if is_even { last.detail.len() as u32 } else { 0 };
    Ok(Ok(Measured { submit_ms, work_ms, whole: Whole { gpus, nodes, ..Whole::default() } }))
}

fn known(time: &Option<String>) -> Option<&str> {
    time.as_deref().filter(|text| !matches!(*text, "" | "None" | "null"))
}
