//! Submitting jobs: from a form's few fields to job specs, and to the cluster.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use faultline_engine::job::{Demand, GPU_MILLI, JobId, JobSpec, MAX_GPUS, MAX_RETRIES, MAX_TIMEOUT_MS, Param, Params, Priority};
use faultline_runtime::clock::random_u128;
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody, ErrorDetail};
use super::extract::JsonBody;
use crate::app::App;

/// The most jobs in one request.
pub(crate) const MAX_COUNT: u32 = 10_000;
/// Submissions under way at once: each awaits two acknowledgements.
const IN_FLIGHT: usize = 256;
// The same as those of `faultline submit`.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;
const DEFAULT_DURATION_MS: u64 = 1_000;
const DEFAULT_GPUS: f64 = 0.1;
const DEFAULT_RETRIES: u32 = 3;
const MAX_SIZE: u64 = 1_000_000_000;

/// One or many equal jobs. Everything but `kind` may be left out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubmitRequest {
    /// `sleep`, `compute`, `matrix`, `fault`, `service:NAME` for a program that answers on NATS, or a kind of your own.
    pub(crate) kind: String,
    /// For people; made up from kind and priority when absent. Many jobs get a number each.
    pub(crate) name: Option<String>,
    /// How much work: rows of the matrices, or the number up to which `compute` counts primes. Not for `sleep` and `fault`.
    pub(crate) size: Option<u64>,
    /// How long it works or holds its GPUs, in milliseconds.
    pub(crate) duration_ms: Option<u64>,
    /// Further parameters for the executor.
    #[serde(default)]
    pub(crate) params: Params,
    /// Normal when absent.
    pub(crate) priority: Option<Priority>,
    /// GPUs: a share below 1, or a whole number up to 8; 0.1 when absent.
    pub(crate) gpus: Option<f64>,
    /// On each of those GPUs; 0 when absent.
    pub(crate) gpu_memory_mib: Option<u32>,
    /// Acceptable GPU models; any when absent.
    #[serde(default)]
    pub(crate) models: Vec<String>,
    /// 1 to 10,000; 1 when absent.
    pub(crate) count: Option<u32>,
    /// An attempt that runs longer fails, in milliseconds; 30 s, or three times the duration, when absent.
    pub(crate) timeout_ms: Option<u64>,
    /// How often the job itself may fail and be tried again; 3 when absent.
    pub(crate) max_retries: Option<u32>,
}

/// What was submitted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Submission {
    pub(crate) submitted: usize,
    pub(crate) ids: Vec<JobId>,
    /// Present when some of them were not taken: why. Those in `ids` were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDetail>,
}

impl SubmitRequest {
    /// The spec that all of them share, and how many there are. Refuses what cannot be meant, naming the field.
    pub(crate) fn plan(self, now_ms: u64, random: u128) -> Result<(JobSpec, u32), ApiError> {
        let count = self.count.unwrap_or(1);
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(ApiError::invalid("count", format!("{count} is outside 1 to {MAX_COUNT}")));
        }
        let gpu_milli = gpu_milli(self.gpus.unwrap_or(DEFAULT_GPUS))?;
        bounded("size", self.size, 1, MAX_SIZE)?;
        bounded("duration_ms", self.duration_ms, 0, MAX_TIMEOUT_MS)?;
        bounded("timeout_ms", self.timeout_ms, 1, MAX_TIMEOUT_MS)?;
        bounded("max_retries", self.max_retries.map(u64::from), 0, u64::from(MAX_RETRIES))?;
        let params = executor_params(&self.kind, self.params, self.size, self.duration_ms)?;
        let expected_ms =
            ["duration_ms", "hold_ms"].into_iter().find_map(|key| params.get(key).and_then(Param::as_u64)).unwrap_or(DEFAULT_DURATION_MS);
        let priority = self.priority.unwrap_or(Priority::Normal);
        let name = self.name.unwrap_or_else(|| format!("{}-{priority}", self.kind));
        let spec = JobSpec {
            id: JobId::new(now_ms, random),
            name,
            kind: self.kind,
            params,
            priority,
            demand: Demand { gpu_milli, gpu_memory_mib: self.gpu_memory_mib.unwrap_or(0), models: self.models },
            expected_ms,
            timeout_ms: self.timeout_ms.unwrap_or_else(|| expected_ms.saturating_mul(3).clamp(DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS)),
            max_retries: self.max_retries.unwrap_or(DEFAULT_RETRIES),
            submitted_at_ms: now_ms,
        };
        spec.validate()?;
        // The last one has the longest name.
        JobSpec { name: numbered(&spec.name, count, count), ..spec.clone() }.validate()?;
        Ok((spec, count))
    }
}

/// Size and duration have the names that the executor of the kind reads; kinds of one's own get `size` and `duration_ms`.
fn executor_params(kind: &str, mut params: Params, size: Option<u64>, duration_ms: Option<u64>) -> Result<Params, ApiError> {
    let class = kind.split(':').next().unwrap_or_default();
    if size.is_some() && matches!(class, "sleep" | "fault") {
        return Err(ApiError::invalid("size", format!("size means nothing to {class} jobs: use duration_ms")));
    }
    let size_key = if class == "compute" { "limit" } else { "size" };
    let duration_key = if matches!(class, "compute" | "matrix") { "hold_ms" } else { "duration_ms" };
    for (field, key, value) in [("size", size_key, size), ("duration_ms", duration_key, duration_ms)] {
        let Some(number) = value.and_then(|value| i64::try_from(value).ok()) else { continue };
        if params.insert(key.to_owned(), Param::Int(number)).is_some() {
            return Err(ApiError::invalid(field, format!("given twice: also as `{key}` in `params`")));
        }
    }
    if class == "sleep" {
        params.entry(duration_key.to_owned()).or_insert(Param::Int(DEFAULT_DURATION_MS as i64));
    }
    Ok(params)
}

/// Job number `number` of `count`, counted from 1. One job alone keeps a name that somebody gave it.
fn numbered(name: &str, number: u32, count: u32) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}-{number:04}") }
}

fn bounded(field: &'static str, value: Option<u64>, low: u64, high: u64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(ApiError::invalid(field, format!("{value} is outside {low} to {high}"))),
        _ => Ok(()),
    }
}

fn gpu_milli(gpus: f64) -> Result<u32, ApiError> {
    if !(0.0..=f64::from(MAX_GPUS)).contains(&gpus) {
        return Err(ApiError::invalid("gpus", format!("{gpus} is outside 0 to {MAX_GPUS}")));
    }
    let milli = (gpus * f64::from(GPU_MILLI)).round() as u32;
    if milli == 0 && gpus > 0.0 {
        return Err(ApiError::invalid("gpus", "the smallest share is 0.001"));
    }
    Ok(milli)
}

/// Submit one or many jobs
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = SubmitRequest,
    responses((status = 201, body = Submission), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = Submission, description = "not all were taken: `ids` were")))]
pub(crate) async fn submit(State(app): State<App>, JsonBody(request): JsonBody<SubmitRequest>) -> Result<Response, ApiError> {
    let (spec, count) = request.plan(app.now_ms(), random_u128())?;
    // A task of its own: a client that goes away must not leave half of a batch behind as markers without jobs.
    let work = tokio::spawn(submit_all(app, spec, count));
    let (ids, failure) =
        work.await.map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "submitting failed in an unexpected way"))?;
    match failure {
        None => Ok((StatusCode::CREATED, Json(Submission { submitted: ids.len(), ids, error: None })).into_response()),
        Some(error) if ids.is_empty() => Err(error),
        Some(mut error) => {
            error.detail.message = format!("{} of {count} jobs were taken, then: {}", ids.len(), error.detail.message);
            Ok((error.status, Json(Submission { submitted: ids.len(), ids, error: Some(*error.detail) })).into_response())
        }
    }
}

/// Submits until all are taken or one fails; those under way then still finish.
async fn submit_all(app: App, spec: JobSpec, count: u32) -> (Vec<JobId>, Option<ApiError>) {
    let mut left = count;
    let mut under_way = futures::stream::FuturesUnordered::new();
    let (mut ids, mut failure) = (Vec::new(), None);
    loop {
        while failure.is_none() && left > 0 && under_way.len() < IN_FLIGHT {
            left -= 1;
            // The time in the id is the time of its own submission: an old id would be refused.
            let now_ms = app.now_ms();
            let name = numbered(&spec.name, count - left, count);
            let job = JobSpec { id: JobId::new(now_ms, random_u128()), name, submitted_at_ms: now_ms, ..spec.clone() };
            let cluster = std::sync::Arc::clone(&app.cluster);
            under_way.push(async move { (job.id, cluster.submit(job).await) });
        }
        match under_way.next().await {
            Some((id, Ok(()))) => ids.push(id),
            Some((_, Err(error))) => failure = failure.or_else(|| Some(error.into())),
            None => break,
        }
    }
    ids.sort_unstable();
    (ids, failure)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::extract::decode_json;

    fn plan(json: &str) -> Result<(JobSpec, u32), ApiError> {
        decode_json::<SubmitRequest>(json.as_bytes())?.plan(1_000, 77)
    }

    fn refused(json: &str) -> String {
        let error = plan(json).unwrap_err();
        assert_eq!(error.status, 422, "{json}: {error:?}");
        error.detail.field.unwrap()
    }

    #[test]
    fn a_kind_is_enough() {
        let (spec, count) = plan(r#"{"kind":"matrix"}"#).unwrap();
        assert_eq!((count, spec.name.as_str(), spec.demand.gpu_milli, spec.timeout_ms), (1, "matrix-normal", 100, 30_000));
        assert_eq!((numbered("a", 7, 10), numbered("a", 1, 1)), ("a-0007".to_owned(), "a".to_owned()));
    }

    #[test]
    fn fields_reach_the_spec() {
        let (spec, count) = plan(
            r#"{"kind":"sleep","duration_ms":30000,"priority":"urgent","gpus":2,"count":10,"max_retries":0,"params":{"a":1.5},"models":["H100"],"gpu_memory_mib":7}"#,
        )
        .unwrap();
        assert_eq!((count, spec.priority, spec.max_retries, spec.expected_ms, spec.timeout_ms), (10, Priority::Urgent, 0, 30_000, 90_000));
        assert_eq!(spec.demand, Demand { gpu_milli: 2000, gpu_memory_mib: 7, models: vec!["H100".into()] });
        assert_eq!(spec.params["duration_ms"].as_u64(), Some(30_000));
        assert_eq!(plan(r#"{"kind":"sleep"}"#).unwrap().0.params["duration_ms"].as_u64(), Some(1_000));
        let compute = plan(r#"{"kind":"compute","size":4,"duration_ms":5}"#).unwrap().0;
        assert_eq!((compute.params["limit"].as_u64(), compute.params["hold_ms"].as_u64(), compute.expected_ms), (Some(4), Some(5), 5));
        assert_eq!(plan(r#"{"kind":"mine","size":4}"#).unwrap().0.params["size"].as_u64(), Some(4));
    }

    #[test]
    fn absurd_values_name_their_field() {
        for (json, field) in [
            (r#"{"kind":"matrix","count":0}"#, "count"),
            (r#"{"kind":"matrix","count":10001}"#, "count"),
            (r#"{"kind":"matrix","count":-1}"#, "count"),
            (r#"{"kind":"matrix","gpus":-0.5}"#, "gpus"),
            (r#"{"kind":"matrix","gpus":9}"#, "gpus"),
            (r#"{"kind":"matrix","gpus":1.5}"#, "gpus"),
            (r#"{"kind":"matrix","gpus":0.0001}"#, "gpus"),
            (r#"{"kind":"matrix","priority":"first"}"#, "priority"),
            (r#"{"kind":"matrix","timeout_ms":0}"#, "timeout_ms"),
            (r#"{"kind":"matrix","max_retries":101}"#, "max_retries"),
            (r#"{"kind":"matrix","size":0}"#, "size"),
            (r#"{"kind":"matrix","size":5,"params":{"size":6}}"#, "size"),
            (r#"{"kind":"sleep","size":5}"#, "size"),
            (r#"{"kind":"matrix","duration_ms":5,"params":{"hold_ms":6}}"#, "duration_ms"),
            (r#"{"kind":"a.b"}"#, "kind"),
            (r#"{"kind":"matrix","name":""}"#, "name"),
            (r#"{"kind":"matrix","models":["*"]}"#, "models"),
            (r#"{"kind":"matrix","params":{"a":[1]}}"#, "params.a"),
            (r#"{"kind":"matrix","colour":"red"}"#, "colour"),
        ] {
            assert_eq!(refused(json), field, "{json}");
        }
        assert_eq!(plan("{").unwrap_err().status, 400);
        assert_eq!(plan("{}").unwrap_err().status, 422);
        assert_eq!(plan(r#"{"kind":"matrix"} x"#).unwrap_err().status, 400);
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_valid_spec(gpus in proptest::num::f64::ANY, size in any::<u64>(), duration in any::<u64>(), kind in "[a-z:.]{0,8}", count in any::<u32>()) {
            let request = SubmitRequest {
                kind, name: None, size: Some(size), duration_ms: Some(duration % 1_000_000_000), params: Params::new(), priority: None, gpus: Some(gpus),
                gpu_memory_mib: None, models: vec![], count: Some(count % 10_002), timeout_ms: None, max_retries: None,
            };
            match request.plan(5, 6) {
                Ok((spec, count)) => {
                    let last = JobSpec { name: numbered(&spec.name, count, count), ..spec };
                    prop_assert!(last.validate().is_ok());
                    prop_assert!((1..=MAX_COUNT).contains(&count));
                }
                Err(error) => prop_assert!(error.detail.field.is_some()),
            }
        }

        #[test]
        fn no_body_makes_the_decoder_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = decode_json::<SubmitRequest>(&body) {
                prop_assert!(error.status == 400 || error.status == 422);
            }
        }
    }
}
