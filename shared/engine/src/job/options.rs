//! From the few things that a person says about a job to its spec: defaults, and which parameter an executor reads a size or a
//! duration from. The command and the REST API share it, so that both submit the same job for the same words.

use std::collections::BTreeSet;

use super::builtin::{self, MAX_COMPUTE_LIMIT, MAX_MATRIX_SIZE};
use super::{Demand, InvalidJob, JobId, JobSpec, MAX_TIMEOUT_MS, Origin, Param, Params, Priority, class, clip};

pub const DEFAULT_DURATION_MS: u64 = 1_000;
pub const DEFAULT_TIMEOUT_MS: u64 = 30_000;
pub const DEFAULT_MAX_RETRIES: u32 = 3;
/// A tenth of a GPU.
pub const DEFAULT_GPU_MILLI: u32 = 100;
/// Of kinds of one's own, which may bound it further.
pub const MAX_SIZE: u64 = 1_000_000_000;

/// What is said about one or many equal jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOptions {
    pub kind: String,
    /// For people; made of kind and priority when absent. Many jobs get a number each.
    pub name: Option<String>,
    /// Rows of the matrices, or the number up to which `compute` counts primes.
    pub size: Option<u64>,
    /// How long it works or holds its GPUs.
    pub duration_ms: Option<u64>,
    /// Further parameters for the executor.
    pub params: Params,
    pub priority: Priority,
    pub demand: Demand,
    /// When absent: 30 s, or three times the duration if that is longer.
    pub timeout_ms: Option<u64>,
    pub max_retries: u32,
    /// Who submits it, as the submitter states it.
    pub origin: Origin,
}

impl JobOptions {
    /// The spec of job number `number` of `count`, counted from 1. Refuses what cannot be meant, naming the field.
    pub fn spec(&self, number: u64, count: u64, id: JobId, now_ms: u64) -> Result<JobSpec, InvalidJob> {
        let params = self.executor_params()?;
        let told = ["duration_ms", "hold_ms"].into_iter().find_map(|key| params.get(key).and_then(Param::as_u64));
        let expected_ms = told.unwrap_or(DEFAULT_DURATION_MS);
        let spec = JobSpec {
            id,
            name: self.name_of(number, count),
            kind: self.kind.clone(),
            params,
            priority: self.priority,
            demand: self.demand.clone(),
            expected_ms,
            timeout_ms: self.timeout_ms.unwrap_or_else(|| expected_ms.saturating_mul(3).clamp(DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS)),
            max_retries: self.max_retries,
            submitted_at_ms: now_ms,
            origin: self.origin.clone(),
        };
        spec.validate()?;
        builtin::judge(&spec)?;
        Ok(spec)
    }

    /// A single job keeps the name that the submitter gave it.
    fn name_of(&self, number: u64, count: u64) -> String {
        let name = self.name.clone().unwrap_or_else(|| format!("{}-{}", self.kind, self.priority));
        if count == 1 { name } else { format!("{name}-{number:04}") }
    }

    /// Size and duration have the names that the executor of the kind reads; kinds of one's own get `size` and `duration_ms`.
    fn executor_params(&self) -> Result<Params, InvalidJob> {
        let class = class(&self.kind);
        if self.size.is_some() && matches!(class, "sleep" | "fault") {
            return Err(InvalidJob::new("size", format!("it means nothing to {class} jobs: give a duration")));
        }
        let most = match class {
            "compute" => MAX_COMPUTE_LIMIT,
            "matrix" => MAX_MATRIX_SIZE,
            _ => MAX_SIZE,
        };
        if self.size.is_some_and(|size| !(1..=most).contains(&size)) {
            return Err(InvalidJob::new("size", format!("outside 1 to {most}, of a {class} job")));
        }
        if self.duration_ms.is_some_and(|duration| duration > MAX_TIMEOUT_MS) {
            return Err(InvalidJob::new("duration", "longer than 7 days"));
        }
        let size_key = if class == "compute" { "limit" } else { "size" };
        let duration_key = if matches!(class, "compute" | "matrix") { "hold_ms" } else { "duration_ms" };
        let mut params = self.params.clone();
        for (field, key, value) in [("size", size_key, self.size), ("duration", duration_key, self.duration_ms)] {
            let Some(number) = value.and_then(|value| i64::try_from(value).ok()) else { continue };
            if params.insert(key.to_owned(), Param::Int(number)).is_some() {
                return Err(InvalidJob::new(field, format!("given twice, also as the parameter `{key}`: leave one out")));
            }
        }
        if class == "sleep" {
            params.entry(duration_key.to_owned()).or_insert(Param::Int(DEFAULT_DURATION_MS as i64));
        }
        Ok(params)
    }
}

/// Why a kind cannot be meant, given what nodes say that they run (the part before a `:`): no node runs it. Without any node nothing is
/// refused: one that runs it may still come.
pub fn refuse_kind(kind: &str, offered: &BTreeSet<String>) -> Option<String> {
    let class = class(kind);
    if offered.is_empty() || offered.contains(class) {
        return None;
    }
    let known: Vec<&str> = offered.iter().map(String::as_str).collect();
    Some(format!("no node runs `{}` jobs; they run {}", clip(class), known.join(", ")))
}

/// What is to be said of models that no node has, given those that nodes have. The job is right if such a node joins; without any node
/// nothing is said.
pub fn doubt_models(models: &[String], offered: &BTreeSet<String>) -> Option<String> {
    let unknown: Vec<&str> = models.iter().filter(|model| !offered.contains(*model)).map(String::as_str).collect();
    if offered.is_empty() || unknown.is_empty() {
        return None;
    }
    let known: Vec<&str> = offered.iter().map(String::as_str).collect();
    let outcome = if unknown.len() < models.len() { "" } else { "; the job is given up unless a node with one comes soon" };
    Some(format!("no node has the GPU model {}; there are {}{outcome}", unknown.join(", "), known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kind: &str) -> JobOptions {
        JobOptions {
            kind: kind.into(),
            name: None,
            size: None,
            duration_ms: None,
            params: Params::new(),
            priority: Priority::Normal,
            demand: Demand { gpu_milli: DEFAULT_GPU_MILLI, ..Demand::default() },
            timeout_ms: None,
            max_retries: DEFAULT_MAX_RETRIES,
            origin: Origin::default(),
        }
    }

    fn params(options: &JobOptions) -> Vec<String> {
        let spec = options.spec(1, 1, JobId::new(1, 2), 3).unwrap();
        spec.params.into_iter().map(|(key, value)| format!("{key}={}", value.as_u64().unwrap())).collect()
    }

    #[test]
    fn size_and_duration_mean_what_the_kind_reads() {
        assert_eq!(params(&options("sleep")), ["duration_ms=1000"]);
        assert_eq!(params(&JobOptions { duration_ms: Some(2_000), ..options("sleep") }), ["duration_ms=2000"]);
        let both = JobOptions { size: Some(1_000), duration_ms: Some(5), ..options("compute") };
        assert_eq!(params(&both), ["hold_ms=5", "limit=1000"]);
        assert_eq!(params(&JobOptions { size: Some(3), ..options("own:thing") }), ["size=3"]);
        assert_eq!(params(&options("matrix")), Vec::<String>::new());
    }

    #[test]
    fn a_long_job_gets_a_long_limit_and_many_jobs_get_numbers() {
        let spec = |options: &JobOptions, number, count| options.spec(number, count, JobId::new(1, 2), 3).unwrap();
        let long = JobOptions { duration_ms: Some(20_000), ..options("sleep") };
        assert_eq!((spec(&long, 1, 1).timeout_ms, spec(&long, 1, 1).name.as_str()), (60_000, "sleep-normal"));
        assert_eq!(spec(&long, 7, 10).name, "sleep-normal-0007");
        assert_eq!(spec(&options("sleep"), 1, 1).timeout_ms, DEFAULT_TIMEOUT_MS);
        assert_eq!(spec(&JobOptions { name: Some("nightly".into()), ..options("sleep") }, 1, 1).name, "nightly");
    }

    #[test]
    fn what_cannot_be_meant_names_its_field() {
        let field = |options: &JobOptions| options.spec(1, 1, JobId::new(1, 2), 3).unwrap_err().field;
        let with = |key: &str| Params::from([(key.to_owned(), Param::Int(6))]);
        assert_eq!(field(&JobOptions { size: Some(5), ..options("sleep") }), "size");
        assert_eq!(field(&JobOptions { size: Some(0), ..options("matrix") }), "size");
        assert_eq!(field(&JobOptions { size: Some(MAX_MATRIX_SIZE + 1), ..options("matrix") }), "size");
        assert!(JobOptions { size: Some(MAX_MATRIX_SIZE + 1), ..options("compute") }.spec(1, 1, JobId::new(1, 2), 3).is_ok());
        assert_eq!(field(&JobOptions { size: Some(5), params: with("size"), ..options("matrix") }), "size");
        assert_eq!(field(&JobOptions { duration_ms: Some(5), params: with("hold_ms"), ..options("matrix") }), "duration");
        assert_eq!(field(&JobOptions { timeout_ms: Some(0), ..options("sleep") }), "timeout");
        assert_eq!(field(&options("a.b")), "kind");
    }

    #[test]
    fn what_a_built_in_kind_cannot_use_is_refused_before_it_is_queued() {
        let options = JobOptions { params: Params::from([("colour".to_owned(), Param::Int(6))]), ..options("matrix") };
        let refused = options.spec(1, 1, JobId::new(1, 2), 3).unwrap_err();
        assert_eq!(
            (refused.field, refused.problem.as_str()),
            ("params", "unknown parameter `colour` of a matrix job: use size, seed, hold_ms")
        );
    }

    #[test]
    fn a_model_that_no_node_has_is_doubted_with_those_that_they_have() {
        let offered = BTreeSet::from(["A100".to_owned(), "H100".to_owned()]);
        let doubt = |models: &[&str]| doubt_models(&models.iter().map(ToString::to_string).collect::<Vec<_>>(), &offered);
        let alone = "no node has the GPU model H200; there are A100, H100; the job is given up unless a node with one comes soon";
        assert_eq!(doubt(&["H200"]).as_deref(), Some(alone));
        assert_eq!(doubt(&["H100", "H200"]).as_deref(), Some("no node has the GPU model H200; there are A100, H100"));
        assert_eq!((doubt(&["A100"]), doubt(&[])), (None, None));
        assert_eq!(doubt_models(&["H200".to_owned()], &BTreeSet::new()), None, "a node may still come");
    }

    #[test]
    fn a_kind_that_no_node_runs_is_refused_with_those_that_they_run() {
        let offered = BTreeSet::from(["service".to_owned(), "sleep".to_owned()]);
        assert_eq!(refuse_kind("sleep", &offered), None);
        assert_eq!(refuse_kind("service:mine", &offered), None);
        assert_eq!(refuse_kind("dream", &offered), Some("no node runs `dream` jobs; they run service, sleep".to_owned()));
        assert_eq!(refuse_kind("dream", &BTreeSet::new()), None, "a node may still come");
    }
}
