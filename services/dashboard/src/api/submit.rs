//! Submitting jobs: from a form's few fields to job specs, and to the cluster.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use faultline_engine::job::options::{DEFAULT_GPU_MILLI, DEFAULT_MAX_RETRIES, JobOptions, MAX_SIZE};
use faultline_engine::job::{Demand, InvalidJob, JobId, MAX_RETRIES, MAX_TIMEOUT_MS, Origin, Param, Params, Priority, is_whole, options};
use faultline_engine::words::plural;
use faultline_runtime::clock::random_u128;
use futures::StreamExt;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::extract::JsonBody;
use super::params::gpu_milli;
use crate::app::App;
use crate::error::{ApiError, ErrorBody, ErrorDetail};

/// What a job that is submitted here states about its submitter. Which person used the page is not known.
pub(super) const SUBMITTER: &str = "page or REST API of the dashboard";
/// The most jobs in one request.
pub(crate) const MAX_COUNT: u32 = 10_000;
/// Submissions under way at once: each awaits two acknowledgements.
const IN_FLIGHT: usize = 256;

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
    /// Further parameters for the executor, each of the type that it has in JSON.
    #[serde(default)]
    #[schema(value_type = Params)]
    pub(crate) params: BTreeMap<String, TypedParam>,
    /// Further parameters as a person types them: a text that is unmistakably `true`, `false` or a number becomes one, as with
    /// `faultline submit --param`; all else stays text.
    #[serde(default)]
    pub(crate) params_from_text: BTreeMap<String, String>,
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
pub(crate) struct Submitted {
    pub(crate) submitted: usize,
    pub(crate) ids: Vec<JobId>,
    /// Present when some of them were not taken: why. Those in `ids` were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorDetail>,
    /// What seems to be a mistake and may be meant, such as a GPU model that no node has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

impl SubmitRequest {
    /// What all of them share, and how many there are. Refuses what cannot be meant, naming the field.
    pub(crate) fn plan(self, now_ms: u64, random: u128) -> Result<(JobOptions, u32), ApiError> {
        let count = self.count.unwrap_or(1);
        if !(1..=MAX_COUNT).contains(&count) {
            return Err(ApiError::invalid("count", format!("{count} is outside 1 to {MAX_COUNT}")));
        }
        let params = params(self.params, &self.params_from_text)?;
        let gpu_milli = self.gpus.map_or(Ok(DEFAULT_GPU_MILLI), gpu_milli)?;
        bounded("size", self.size, 1, MAX_SIZE)?;
        bounded("duration_ms", self.duration_ms, 0, MAX_TIMEOUT_MS)?;
        bounded("timeout_ms", self.timeout_ms, 1, MAX_TIMEOUT_MS)?;
        bounded("max_retries", self.max_retries.map(u64::from), 0, u64::from(MAX_RETRIES))?;
        let options = JobOptions {
            kind: self.kind,
            name: self.name,
            size: self.size,
            duration_ms: self.duration_ms,
            params,
            priority: self.priority.unwrap_or(Priority::Normal),
            demand: Demand { gpu_milli, gpu_memory_mib: self.gpu_memory_mib.unwrap_or(0), models: self.models },
            timeout_ms: self.timeout_ms,
            max_retries: self.max_retries.unwrap_or(DEFAULT_MAX_RETRIES),
            origin: Origin::by(SUBMITTER),
        };
        // The last one has the longest name.
        options.spec(count.into(), count.into(), JobId::new(now_ms, random), now_ms).map_err(refused)?;
        Ok((options, count))
    }
}

/// A parameter as JSON has it. A whole number of any length is looked at before a reader makes a floating point number of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypedParam(Param);

impl<'de> Deserialize<'de> for TypedParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if is_whole(raw.get()) {
            return Param::from_digits(raw.get()).map(TypedParam).map_err(|error| D::Error::custom(format!("{error}, in quotation marks")));
        }
        serde_json::from_str(raw.get()).map(TypedParam).map_err(|_| D::Error::custom("must be true or false, a number or text"))
    }
}

/// Those of both forms together.
fn params(typed: BTreeMap<String, TypedParam>, from_text: &BTreeMap<String, String>) -> Result<Params, ApiError> {
    let mut params: Params = typed.into_iter().map(|(name, TypedParam(value))| (name, value)).collect();
    for (name, text) in from_text {
        let field = format!("params_from_text.{name}");
        let value = Param::from_text(text).map_err(|error| ApiError::invalid(field.clone(), format!("{error}, in `params`")))?;
        if params.insert(name.clone(), value).is_some() {
            return Err(ApiError::invalid(field, "given twice, also in `params`: leave one out"));
        }
    }
    Ok(params)
}

/// Names the field as the request has it.
fn refused(error: InvalidJob) -> ApiError {
    let field = match error.field {
        "duration" | "expected" => "duration_ms",
        "timeout" => "timeout_ms",
        field => field,
    };
    ApiError::invalid(field, error.problem)
}

fn bounded(field: &'static str, value: Option<u64>, low: u64, high: u64) -> Result<(), ApiError> {
    match value {
        Some(value) if !(low..=high).contains(&value) => Err(ApiError::invalid(field, format!("{value} is outside {low} to {high}"))),
        _ => Ok(()),
    }
}

/// Submit one or many jobs
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = SubmitRequest,
    responses((status = 201, body = Submitted), (status = 400, body = ErrorBody), (status = 413, body = ErrorBody), (status = 415, body = ErrorBody),
        (status = 422, body = ErrorBody), (status = 503, body = Submitted, description = "not all were taken: `ids` were")))]
pub(crate) async fn submit(State(app): State<App>, JsonBody(request): JsonBody<SubmitRequest>) -> Result<Response, ApiError> {
    let (options, count) = request.plan(app.now_ms(), random_u128())?;
    offered(&app, &options.kind)?;
    let warnings: Vec<String> = options::doubt_models(&options.demand.models, &app.view.read().nodes.gpu_models()).into_iter().collect();
    // A task of its own: a client that goes away must not leave half of a batch behind as markers without jobs.
    let work = tokio::spawn(submit_all(app, options, count));
    let (ids, failure) =
        work.await.map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "submitting failed in an unexpected way"))?;
    match failure {
        None => Ok((StatusCode::CREATED, Json(Submitted { submitted: ids.len(), ids, error: None, warnings })).into_response()),
        Some(error) if ids.is_empty() => Err(error),
        Some(mut error) => {
            error.detail.message = format!("{} of {} taken, then: {}", ids.len(), plural(count.into(), "job"), error.detail.message);
            Ok((error.status, Json(Submitted { submitted: ids.len(), ids, error: Some(*error.detail), warnings })).into_response())
        }
    }
}

/// A kind that no node runs would only wait and then be given up. Where no node is known yet, it may still come.
fn offered(app: &App, kind: &str) -> Result<(), ApiError> {
    let kinds = app.view.read().nodes.kinds();
    match options::refuse_kind(kind, &kinds) {
        Some(problem) => Err(ApiError::invalid("kind", problem)),
        None => Ok(()),
    }
}

/// Submits until all are taken or one fails; those under way then still finish.
async fn submit_all(app: App, options: JobOptions, count: u32) -> (Vec<JobId>, Option<ApiError>) {
    let mut left = count;
    let mut under_way = futures::stream::FuturesUnordered::new();
    let (mut ids, mut failure) = (Vec::new(), None);
    loop {
        while failure.is_none() && left > 0 && under_way.len() < IN_FLIGHT {
            left -= 1;
            // The time in the id is the time of its own submission: an old id would be refused.
            let now_ms = app.now_ms();
            match options.spec((count - left).into(), count.into(), JobId::new(now_ms, random_u128()), now_ms) {
                Ok(job) => {
                    let cluster = std::sync::Arc::clone(&app.cluster);
                    under_way.push(async move { (job.id, cluster.submit(job).await) });
                }
                Err(error) => failure = Some(refused(error)),
            }
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
    use faultline_engine::job::JobSpec;
    use proptest::prelude::*;

    use super::*;
    use crate::api::extract::decode_json;

    fn plan(json: &str) -> Result<(JobSpec, u32), ApiError> {
        let (options, count) = decode_json::<SubmitRequest>(json.as_bytes())?.plan(1_000, 77)?;
        Ok((options.spec(1, count.into(), JobId::new(1_000, 77), 1_000).map_err(refused)?, count))
    }

    fn refused_field(json: &str) -> String {
        let error = plan(json).unwrap_err();
        assert_eq!(error.status, 422, "{json}: {error:?}");
        error.detail.field.unwrap()
    }

    #[test]
    fn a_kind_is_enough() {
        let (spec, count) = plan(r#"{"kind":"matrix"}"#).unwrap();
        assert_eq!((count, spec.name.as_str(), spec.demand.gpu_milli, spec.timeout_ms), (1, "matrix-normal", 100, 30_000));
    }

    #[test]
    fn fields_reach_the_spec() {
        let (spec, count) = plan(
            r#"{"kind":"sleep","duration_ms":30000,"priority":"urgent","gpus":2,"count":10,"max_retries":0,"models":["H100"],"gpu_memory_mib":7}"#,
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
            (r#"{"kind":"matrix","params":{"a":9223372036854775808}}"#, "params.a"),
            (r#"{"kind":"matrix","params":{"a":99999999999999999999}}"#, "params.a"),
            (r#"{"kind":"matrix","params_from_text":{"a":"99999999999999999999"}}"#, "params_from_text.a"),
            (r#"{"kind":"matrix","params_from_text":{"a":5}}"#, "params_from_text.a"),
            (r#"{"kind":"matrix","params":{"a":1},"params_from_text":{"a":"1"}}"#, "params_from_text.a"),
            (r#"{"kind":"matrix","params":{"a":1}}"#, "params"),
            (r#"{"kind":"matrix","params":{"seed":"x"}}"#, "params"),
            (r#"{"kind":"matrix","colour":"red"}"#, "colour"),
        ] {
            assert_eq!(refused_field(json), field, "{json}");
        }
        assert_eq!(plan("{").unwrap_err().status, 400);
        assert_eq!(plan("{}").unwrap_err().status, 422);
        assert_eq!(plan(r#"{"kind":"matrix"} x"#).unwrap_err().status, 400);
    }

    #[test]
    fn typed_parameters_stay_as_they_are_and_texts_follow_the_rule_of_the_command() {
        #[derive(Deserialize)]
        struct Case {
            typed: String,
            value: Option<Param>,
        }
        let param = |json: String| plan(&json).map(|(spec, _)| spec.params["a"].clone()).map_err(|error| error.detail.message);
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../shared/engine/src/job/param_cases.json")).unwrap();
        for Case { typed, value } in cases {
            let text = serde_json::Value::from(typed.clone());
            assert_eq!(param(format!(r#"{{"kind":"mine","params_from_text":{{"a":{text}}}}}"#)).ok(), value, "{typed:?}");
            assert_eq!(param(format!(r#"{{"kind":"mine","params":{{"a":{text}}}}}"#)), Ok(Param::Text(typed)));
        }
        let typed = |value: &str| param(format!(r#"{{"kind":"mine","params":{{"a":{value}}}}}"#));
        assert_eq!(
            (typed("1.0"), typed("1e3"), typed("-9223372036854775808")),
            (Ok(Param::Float(1.0)), Ok(Param::Float(1e3)), Ok(Param::Int(i64::MIN)))
        );
        let refused = typed("99999999999999999999").unwrap_err();
        assert!(refused.contains("does not fit") && refused.contains("pass it as text, in quotation marks"), "{refused}");
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_valid_spec(gpus in proptest::num::f64::ANY, size in any::<u64>(), duration in any::<u64>(), kind in "[a-z:.]{0,8}", count in any::<u32>()) {
            let request = SubmitRequest {
                kind, name: None, size: Some(size), duration_ms: Some(duration % 1_000_000_000), params: BTreeMap::new(), params_from_text: BTreeMap::new(), priority: None, gpus: Some(gpus),
                gpu_memory_mib: None, models: vec![], count: Some(count % 10_002), timeout_ms: None, max_retries: None,
            };
            match request.plan(5, 6) {
                Ok((options, count)) => {
                    prop_assert!(options.spec(count.into(), count.into(), JobId::new(5, 6), 5).is_ok());
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
