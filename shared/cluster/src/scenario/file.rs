//! A scenario file: what it may say, and everything that can be wrong with it, found before anything is started. Each complaint
//! names the line, the field and the remedy.

use std::collections::BTreeMap;
use std::time::Duration;

use faultline_client::observe::hypothesis::Hypothesis;
use faultline_engine::detector::EstimatorKind;
use faultline_engine::fault::FaultPreset;
use faultline_engine::job::{MAX_RETRIES, Param, Params, Priority};
use faultline_engine::scheduler::PolicyName;
use faultline_engine::words::{self, plural, span};
use faultline_protocol::messages::{ChaosKind, ChaosRequest};
use faultline_runtime::clock::ms;
use faultline_runtime::values;
use serde::Deserialize;

use crate::experiment::kinds;
use crate::up::settings::MAX_WORKERS;

const MAX_JOBS: u32 = 100_000;
const MAX_RATE_PER_S: f64 = 10_000.0;
const MAX_POISONED: u32 = 1_000;
const MAX_SCHEDULERS: u32 = 9;
const MAX_NODES_PER_WORKER: u32 = 100;
const MAX_TIMES: u32 = 1_000;
const LONGEST: Duration = Duration::from_secs(3_600);

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{field}: {problem}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct Problem {
    pub line: Option<usize>,
    pub field: String,
    pub problem: String,
}

/// The file as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: About,
    #[serde(default)]
    cluster: ClusterTable,
    workload: WorkloadTable,
    #[serde(default)]
    fault: Vec<FaultTable>,
    #[serde(default)]
    assert: Vec<AssertTable>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    name: String,
    shows: String,
    look_for: String,
    #[serde(default)]
    limit: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterTable {
    workers: Option<u32>,
    nodes_per_worker: Option<u32>,
    schedulers: Option<u32>,
    faults: Option<String>,
    detector: Option<String>,
    policy: Option<String>,
    no_detector: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadTable {
    jobs: u32,
    rate_per_s: Option<f64>,
    kinds: Option<BTreeMap<String, f64>>,
    priorities: Option<BTreeMap<String, f64>>,
    duration: Option<(String, String)>,
    gpus: Option<f64>,
    timeout: Option<String>,
    max_retries: Option<u32>,
    poisoned: Option<u32>,
    #[serde(default)]
    params: Params,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultTable {
    at: String,
    kind: String,
    #[serde(rename = "for")]
    length: Option<String>,
    target: Option<String>,
    count: Option<u32>,
    percent: Option<f64>,
    factor: Option<f64>,
    xid: Option<u32>,
    every: Option<String>,
    times: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AssertTable {
    that: String,
    because: Option<String>,
}

/// A scenario that makes sense.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: String,
    pub shows: String,
    pub look_for: String,
    /// The longest that it may take from the first job on.
    pub limit: Duration,
    pub cluster: ClusterSettings,
    pub workload: Workload,
    pub faults: Vec<TimedFault>,
    pub asserts: Vec<Assertion>,
}

#[derive(Debug, Clone)]
pub struct ClusterSettings {
    pub workers: u32,
    pub nodes_per_worker: u32,
    pub schedulers: u32,
    pub faults: FaultPreset,
    pub detector: EstimatorKind,
    pub policy: PolicyName,
    pub no_detector: bool,
}

#[derive(Debug, Clone)]
pub struct Workload {
    pub jobs: u32,
    /// None: all at once.
    pub rate_per_s: Option<f64>,
    /// With relative weights.
    pub kinds: Vec<(String, f64)>,
    pub priorities: Vec<(Priority, f64)>,
    /// Evenly between these, in milliseconds.
    pub duration_ms: (u64, u64),
    pub gpu_milli: u32,
    pub timeout_ms: u64,
    pub max_retries: u32,
    /// Unreadable job messages.
    pub poisoned: u32,
    pub params: Params,
}

/// One entry of the timeline.
#[derive(Debug, Clone)]
pub struct TimedFault {
    pub at_ms: u64,
    pub request: ChaosRequest,
    /// From one beginning to the next.
    pub every_ms: u64,
    pub times: u32,
}

#[derive(Debug, Clone)]
pub struct Assertion {
    pub hypothesis: Hypothesis,
    pub because: String,
}

/// Finds the line of a key for a complaint.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    /// The line of `key` in table number `index` of that header, or of the header itself.
    fn find(&self, header: &str, index: usize, key: &str) -> Option<usize> {
        let start = self.0.lines().enumerate().filter(|(_, line)| line.trim() == header).nth(index)?.0;
        let inside = self.0.lines().enumerate().skip(start + 1).take_while(|(_, line)| !line.trim_start().starts_with('['));
        let found =
            inside.into_iter().find(|(_, line)| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')));
        Some(found.map_or(start, |(line, _)| line) + 1)
    }
}

/// One table of the file, for complaints about it.
struct Place<'a> {
    lines: &'a Lines<'a>,
    header: String,
    index: usize,
    /// As it is called in a complaint.
    name: String,
}

impl Place<'_> {
    fn complain<T>(&self, key: &str, problem: impl Into<String>) -> Result<T, Problem> {
        let line = self.lines.find(&self.header, self.index, key);
        Err(Problem { line, field: format!("{}.{key}", self.name), problem: problem.into() })
    }

    fn duration(&self, key: &str, text: &str) -> Result<Duration, Problem> {
        match values::duration(text) {
            Ok(duration) if duration <= LONGEST => Ok(duration),
            Ok(_) => self.complain(key, "at most 1h"),
            Err(problem) => self.complain(key, format!("`{text}`: {problem}")),
        }
    }

    fn within(&self, key: &str, value: u32, low: u32, high: u32) -> Result<u32, Problem> {
        if (low..=high).contains(&value) { Ok(value) } else { self.complain(key, format!("{value} is outside {low} to {high}")) }
    }

    /// One of `all` by its name.
    fn word<T: Copy + Default>(&self, key: &str, text: Option<&String>, all: &[T], name: fn(T) -> &'static str) -> Result<T, Problem> {
        let Some(text) = text else { return Ok(T::default()) };
        let known = || all.iter().map(|&one| name(one)).collect::<Vec<_>>().join(", ");
        let found = all.iter().copied().find(|&one| name(one) == text);
        found.map_or_else(|| self.complain(key, format!("unknown value `{text}`: use one of {}", known())), Ok)
    }

    /// Weights by name: none negative, and not all zero.
    fn weights<T>(
        &self,
        key: &str,
        table: &BTreeMap<String, f64>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<(T, f64)>, Problem> {
        if table.values().any(|weight| !weight.is_finite() || *weight < 0.0) || table.values().sum::<f64>() <= 0.0 {
            return self.complain(key, "weights must be numbers from 0 on, and one of them above 0");
        }
        let each = table.iter().map(|(name, weight)| match read(name) {
            Ok(value) => Ok((value, *weight)),
            Err(problem) => self.complain(key, problem),
        });
        each.collect()
    }
}

/// Reads and checks a file.
pub fn parse(text: &str) -> Result<Scenario, Problem> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text.bytes().take(span.start).filter(|&byte| byte == b'\n').count() + 1);
        Problem { line, field: "the file".into(), problem: error.message().to_owned() }
    })?;
    let lines = Lines(text);
    let place = |header: &str, index: usize, name: String| Place { lines: &lines, header: header.into(), index, name };
    let about = place("[scenario]", 0, "scenario".into());
    for (key, value) in [("shows", &file.scenario.shows), ("look_for", &file.scenario.look_for)] {
        if value.trim().is_empty() {
            return about.complain(key, "describe the scenario in a sentence");
        }
    }
    if !faultline_engine::job::is_token(&file.scenario.name) {
        return about.complain("name", "1 to 64 letters, digits, `-` or `_`");
    }
    let limit = about.duration("limit", file.scenario.limit.as_deref().unwrap_or("60s"))?;
    let faults = file
        .fault
        .iter()
        .enumerate()
        .map(|(index, table)| fault(&place("[[fault]]", index, format!("fault {}", index + 1)), table, limit))
        .collect::<Result<_, _>>()?;
    if file.assert.is_empty() {
        let problem = "no [[assert]] is there: add one, such as that = \"lost=0,duplicates=0\"".into();
        return Err(Problem { line: None, field: "assert".into(), problem });
    }
    let asserts = file
        .assert
        .iter()
        .enumerate()
        .map(|(index, table)| assertion(&place("[[assert]]", index, format!("assert {}", index + 1)), table))
        .collect::<Result<_, _>>()?;
    Ok(Scenario {
        cluster: cluster(&place("[cluster]", 0, "cluster".into()), &file.cluster)?,
        workload: workload(&place("[workload]", 0, "workload".into()), &file.workload, limit)?,
        name: file.scenario.name,
        shows: file.scenario.shows,
        look_for: file.scenario.look_for,
        limit,
        faults,
        asserts,
    })
}

fn cluster(place: &Place<'_>, table: &ClusterTable) -> Result<ClusterSettings, Problem> {
    let faults = match &table.faults {
        // What is asserted must come from the timeline, unless the file says otherwise.
        None => FaultPreset::Off,
        Some(name) => name.parse().or_else(|problem: String| place.complain("faults", problem))?,
    };
    Ok(ClusterSettings {
        workers: place.within("workers", table.workers.unwrap_or(4), 1, MAX_WORKERS)?,
        nodes_per_worker: place.within("nodes_per_worker", table.nodes_per_worker.unwrap_or(1), 1, MAX_NODES_PER_WORKER)?,
        schedulers: place.within("schedulers", table.schedulers.unwrap_or(1), 1, MAX_SCHEDULERS)?,
        faults,
        detector: place.word("detector", table.detector.as_ref(), &EstimatorKind::ALL, EstimatorKind::as_str)?,
        policy: place.word("policy", table.policy.as_ref(), &PolicyName::ALL, PolicyName::as_str)?,
        no_detector: table.no_detector.unwrap_or(false),
    })
}

fn workload(place: &Place<'_>, table: &WorkloadTable, limit: Duration) -> Result<Workload, Problem> {
    let jobs = place.within("jobs", table.jobs, 1, MAX_JOBS)?;
    if let Some(rate) = table.rate_per_s {
        if !(rate > 0.0 && rate <= MAX_RATE_PER_S) {
            return place.complain("rate_per_s", format!("above 0 and up to {MAX_RATE_PER_S}; left out, all jobs come at once"));
        }
        if f64::from(jobs) / rate > limit.as_secs_f64() {
            return place.complain(
                "rate_per_s",
                format!("{} at {rate} a second take longer than the scenario's limit", plural(jobs.into(), "job")),
            );
        }
    }
    let kinds = match &table.kinds {
        None => vec![("sleep".to_owned(), 1.0)],
        Some(kinds) => place.weights("kinds", kinds, |name| match name {
            "sleep" | "compute" | "matrix" | "fault" => Ok(name.to_owned()),
            _ => Err(format!("unknown kind of job `{name}`: use sleep, compute, matrix, or fault")),
        })?,
    };
    let priorities = match &table.priorities {
        None => vec![(Priority::Normal, 1.0)],
        Some(priorities) => place.weights("priorities", priorities, values::priority)?,
    };
    let (shortest, longest) = table.duration.as_ref().map_or(("500ms", "1s"), |(low, high)| (low.as_str(), high.as_str()));
    let duration_ms = (ms(place.duration("duration", shortest)?), ms(place.duration("duration", longest)?));
    if duration_ms.0 > duration_ms.1 {
        return place.complain("duration", "the shorter one comes first");
    }
    let gpus = table.gpus.unwrap_or(0.1);
    let gpu_milli = values::gpus(&gpus.to_string()).or_else(|problem| place.complain("gpus", problem))?;
    for (name, value) in &table.params {
        if matches!(value, Param::Float(number) if !number.is_finite()) {
            return place.complain("params", format!("`{name}` is not a finite number"));
        }
    }
    let timeout = place.duration("timeout", table.timeout.as_deref().unwrap_or("30s"))?;
    if timeout.is_zero() {
        return place.complain("timeout", "must be at least 1 ms");
    }
    Ok(Workload {
        jobs,
        rate_per_s: table.rate_per_s,
        kinds,
        priorities,
        duration_ms,
        gpu_milli,
        timeout_ms: ms(timeout),
        max_retries: place.within("max_retries", table.max_retries.unwrap_or(3), 0, MAX_RETRIES)?,
        poisoned: place.within("poisoned", table.poisoned.unwrap_or(0), 0, MAX_POISONED)?,
        params: table.params.clone(),
    })
}

fn fault(place: &Place<'_>, table: &FaultTable, limit: Duration) -> Result<TimedFault, Problem> {
    let Some(kind) = ChaosKind::of_name(&table.kind) else {
        let known = ChaosKind::ALL.map(ChaosKind::as_str).join(", ");
        return place.complain("kind", format!("unknown value `{}`: use one of {known}", table.kind));
    };
    let at_ms = ms(place.duration("at", &table.at)?);
    let for_ms = match &table.length {
        None => 0,
        Some(text) => match ms(place.duration("for", text)?) {
            0 => return place.complain("for", "must be at least 1 ms"),
            for_ms => for_ms,
        },
    };
    let request = ChaosRequest {
        target: table.target.clone().unwrap_or_default(),
        for_ms,
        count: table.count.unwrap_or(0),
        percent: table.percent.unwrap_or(0.0),
        factor: table.factor.unwrap_or(0.0),
        xid: table.xid.unwrap_or(0),
        ..kinds::of_kind(kind, "scenario")
    };
    let request = match kinds::check(request) {
        Ok((request, _)) => request,
        Err(problem) => {
            let key = ["count", "percent", "factor", "xid", "for"].into_iter().find(|key| problem.starts_with(key)).unwrap_or("kind");
            return place.complain(key, problem);
        }
    };
    let times = place.within("times", table.times.unwrap_or(1), 1, MAX_TIMES)?;
    let every_ms = match (&table.every, times) {
        (None, 1) => 0,
        (None, _) => return place.complain("times", "say how far apart: every = \"5s\""),
        (Some(_), 1) => return place.complain("every", "say how often: times = 3"),
        (Some(text), _) => ms(place.duration("every", text)?),
    };
    if times > 1 && every_ms <= request.for_ms {
        return place.complain("every", "must be longer than the fault, or one begins before the other has ended");
    }
    let ends_ms = at_ms + every_ms * u64::from(times - 1) + request.for_ms;
    if ends_ms > ms(limit) {
        return place.complain("at", format!("it ends after {}, and the scenario's limit is {}", span(ends_ms), words::limit(ms(limit))));
    }
    Ok(TimedFault { at_ms, request, every_ms, times })
}

fn assertion(place: &Place<'_>, table: &AssertTable) -> Result<Assertion, Problem> {
    let hypothesis = Hypothesis::parse(&table.that).or_else(|error| place.complain("that", error.to_string()))?;
    if hypothesis.is_empty() {
        return place.complain("that", "it asserts nothing");
    }
    Ok(Assertion { hypothesis, because: table.because.clone().unwrap_or_default() })
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
