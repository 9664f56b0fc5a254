//! Jobs, attempts and what they ask of a GPU. Validation of everything that a submitter may write lives here;
//! the life of a job inside the cluster does not (see `scheduler`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::limit;

mod attempt;
pub mod builtin;
mod choice;
mod id;
mod id_part;
pub mod options;
mod origin;
mod param;
mod path;
mod record;
mod submission;

pub use attempt::{
    Assignment, AttemptOutcome, AttemptSummary, EndedAttempt, JobState, MAX_DETAIL_BYTES, MAX_HISTORY, RunningAttempt, Told, cut,
    push_history, retry_delay_ms,
};
pub use choice::{Choice, RunnerUp};
use id::clip;
pub use id::{AttemptId, InvalidJob, JobId, MAX_TASKS, PackId};
pub use id_part::{JobRef, MIN_PART_CHARS, short_id};
pub use origin::Origin;
pub use param::{Param, Params, UnfitNumber, is_whole};
pub use path::Path;
pub use record::{Commit, Found, TerminalRecord};
pub use submission::{NotKept, Submission};

/// One whole GPU in the unit of [`Demand::gpu_milli`].
pub const GPU_MILLI: u32 = 1000;
/// The most GPUs that one job may ask for: the largest machine in the catalogue has eight.
pub const MAX_GPUS: u32 = 8;
/// The longest time limit of a job: seven days, in milliseconds.
pub const MAX_TIMEOUT_MS: u64 = 7 * 24 * 3600 * 1000;
/// The largest retry budget.
pub const MAX_RETRIES: u32 = 100;
/// The class of the jobs that an external executor runs through a NATS service: their kind is `service:NAME`.
pub const SERVICE_CLASS: &str = "service";
const MAX_NAME_CHARS: usize = 120;
const MAX_KIND_CHARS: usize = 64;
const MAX_PARAMS: usize = 32;
const MAX_PARAM_KEY_CHARS: usize = 64;
const MAX_PARAM_TEXT_CHARS: usize = 4096;
const MAX_MODELS: usize = 16;

/// Who goes first when GPUs are short. The order of the variants is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Urgent,
    High,
    Normal,
    Low,
}

impl Priority {
    pub const ALL: [Priority; 4] = [Priority::Urgent, Priority::High, Priority::Normal, Priority::Low];

    /// The token used in subjects and on command lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Urgent => "urgent",
            Priority::High => "high",
            Priority::Normal => "normal",
            Priority::Low => "low",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = InvalidJob;

    fn from_str(text: &str) -> Result<Self, InvalidJob> {
        Priority::ALL
            .into_iter()
            .find(|p| p.as_str() == text)
            .ok_or_else(|| InvalidJob::new("priority", format!("`{}` is unknown: use urgent, high, normal or low", clip(text))))
    }
}

/// What a job asks of the GPUs of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Demand {
    /// Thousandths of a GPU. Below 1000: a share of one GPU; from 1000 on: whole GPUs only; 0: no GPU at all.
    pub gpu_milli: u32,
    /// GPU memory in MiB, on each GPU that the job gets.
    #[serde(default)]
    pub gpu_memory_mib: u32,
    /// Acceptable GPU models; empty means any.
    #[serde(default)]
    pub models: Vec<String>,
}

impl Demand {
    /// How many distinct GPUs the job occupies, wholly or in part.
    pub fn gpu_count(&self) -> u32 {
        self.gpu_milli.div_ceil(GPU_MILLI)
    }

    /// The share taken from each of those GPUs, in thousandths.
    pub fn milli_per_gpu(&self) -> u32 {
        self.gpu_milli.min(GPU_MILLI)
    }

    pub fn validate(&self) -> Result<(), InvalidJob> {
        if self.gpu_milli > MAX_GPUS * GPU_MILLI {
            return Err(InvalidJob::new(
                "gpus",
                format!("{} is more than the {MAX_GPUS} of the largest node", f64::from(self.gpu_milli) / 1000.0),
            ));
        }
        if self.gpu_milli > GPU_MILLI && !self.gpu_milli.is_multiple_of(GPU_MILLI) {
            return Err(InvalidJob::new("gpus", "above one GPU only whole numbers can be placed: use 1, 2, ... 8, or a share below 1"));
        }
        if self.models.len() > MAX_MODELS || self.models.iter().any(|model| !is_token(model)) {
            return Err(InvalidJob::new("models", format!("at most {MAX_MODELS} names of letters, digits, `-` and `_`")));
        }
        Ok(())
    }
}

/// The part of a kind before a `:`, which is what nodes offer and what subjects carry.
pub fn class(kind: &str) -> &str {
    kind.split(':').next().unwrap_or(kind)
}

/// Whether `text` can stand as one token of a subject: 1 to 64 letters, digits, `-` or `_`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What is submitted: everything that is needed to place and run a job, and nothing about how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSpec {
    pub id: JobId,
    /// For people, such as `gpu-algebra-5678`; not unique.
    pub name: String,
    /// Which executor runs it: `sleep`, `compute`, `matrix`, `fault`, `service:NAME` for the executor that answers the NATS service
    /// `exec.NAME`, or a registered kind of your own.
    pub kind: String,
    #[serde(default)]
    pub params: Params,
    pub priority: Priority,
    pub demand: Demand,
    /// How long the job is expected to run, in milliseconds; informs placement and progress, and does not limit it.
    pub expected_ms: u64,
    /// An attempt that runs longer than this fails, in milliseconds.
    pub timeout_ms: u64,
    /// How many times the job itself may fail and be tried again. A node's death costs nothing of it.
    pub max_retries: u32,
    pub submitted_at_ms: u64,
    /// Who submitted it, as the submitter states it.
    #[serde(default, skip_serializing_if = "Origin::is_unstated")]
    pub origin: Origin,
}

impl JobSpec {
    /// Refuses what cannot be meant: absurd numbers, names that break a subject or a log line.
    pub fn validate(&self) -> Result<(), InvalidJob> {
        // First: a job that was given no name has one made from it.
        if self.kind.len() > MAX_KIND_CHARS || !self.kind.split(':').all(is_token) {
            return Err(InvalidJob::new(
                "kind",
                format!("invalid kind `{}`: use letters, digits, `-`, `_`, and parts joined by `:`", clip(&self.kind)),
            ));
        }
        if self.class() == SERVICE_CLASS && self.service().is_none() {
            return Err(InvalidJob::new(
                "kind",
                format!("`{}` names no executor: it is `service:NAME`, with one name of letters, digits, `-` and `_`", clip(&self.kind)),
            ));
        }
        let name_chars = self.name.chars().count();
        if name_chars == 0 || name_chars > MAX_NAME_CHARS || self.name.chars().any(char::is_control) {
            return Err(InvalidJob::new("name", format!("1 to {MAX_NAME_CHARS} printable characters are needed")));
        }
        if self.params.len() > MAX_PARAMS {
            return Err(InvalidJob::new("params", format!("at most {MAX_PARAMS} parameters")));
        }
        for (key, value) in &self.params {
            if key.is_empty() || key.len() > MAX_PARAM_KEY_CHARS {
                return Err(InvalidJob::new("params", format!("a parameter's name has 1 to {MAX_PARAM_KEY_CHARS} bytes")));
            }
            match value {
                Param::Text(text) if text.len() > MAX_PARAM_TEXT_CHARS => {
                    return Err(InvalidJob::new("params", format!("`{key}` is longer than {MAX_PARAM_TEXT_CHARS} bytes")));
                }
                Param::Float(number) if !number.is_finite() => {
                    return Err(InvalidJob::new("params", format!("`{key}` is not a finite number")));
                }
                Param::Bool(_) | Param::Int(_) | Param::Float(_) | Param::Text(_) => {}
            }
        }
        self.demand.validate()?;
        self.origin.validate()?;
        if self.timeout_ms == 0 || self.timeout_ms > MAX_TIMEOUT_MS {
            return Err(InvalidJob::new("timeout", format!("{} is outside 1 ms to 7 days", limit(self.timeout_ms))));
        }
        if self.expected_ms > MAX_TIMEOUT_MS {
            return Err(InvalidJob::new("expected", format!("{} is longer than 7 days", limit(self.expected_ms))));
        }
        if self.max_retries > MAX_RETRIES {
            return Err(InvalidJob::new("max_retries", format!("{} is more than {MAX_RETRIES}", self.max_retries)));
        }
        Ok(())
    }

    /// The subject token for the job's kind.
    pub fn class(&self) -> &str {
        class(&self.kind)
    }

    /// The NAME of a kind `service:NAME`; `None` for every other kind.
    pub fn service(&self) -> Option<&str> {
        let (class, name) = self.kind.split_once(':')?;
        (class == SERVICE_CLASS && is_token(name)).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn spec() -> JobSpec {
        JobSpec {
            id: JobId::new(1, 2),
            name: "wait-urgent-1234".into(),
            kind: "sleep".into(),
            params: Params::new(),
            priority: Priority::Urgent,
            demand: Demand { gpu_milli: 500, gpu_memory_mib: 1024, models: vec![] },
            expected_ms: 10,
            timeout_ms: 1000,
            max_retries: 3,
            submitted_at_ms: 1,
            origin: Origin::default(),
        }
    }

    #[test]
    fn ids_round_trip_as_text_and_sort_by_time() {
        let early = JobId::new(1_000, 7);
        let late = JobId::new(2_000, 3);
        assert_eq!(early.to_string().parse::<JobId>().unwrap(), early);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.unix_ms(), 2_000);
        assert!("not an id".parse::<JobId>().unwrap_err().to_string().starts_with("id: "));
    }

    #[test]
    fn an_id_of_more_than_128_bits_is_refused_not_shortened() {
        assert!("7ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<JobId>().is_ok());
        for text in ["8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", ""] {
            assert_eq!(text.parse::<JobId>().unwrap_err().field, "id");
        }
    }

    #[test]
    fn a_service_is_named_after_its_class() {
        let named = |kind: &str| JobSpec { kind: kind.into(), ..spec() }.service().map(str::to_owned);
        assert_eq!(named("service:greet"), Some("greet".into()));
        assert!(JobSpec { kind: "service:greet".into(), ..spec() }.validate().is_ok());
        for other in ["service", "service:", "service:a.b", "services:greet", "sleep", "other:service"] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn validation_names_the_field() {
        let broken = |change: fn(&mut JobSpec)| {
            let mut job = spec();
            change(&mut job);
            job.validate().unwrap_err().field
        };
        assert!(spec().validate().is_ok());
        assert_eq!(broken(|job| job.name.clear()), "name");
        assert_eq!(broken(|job| job.name = "a\nb".into()), "name");
        assert_eq!(broken(|job| job.kind = "a.b".into()), "kind");
        assert_eq!(broken(|job| job.kind = "service".into()), "kind");
        assert_eq!(broken(|job| job.kind = "service:a:b".into()), "kind");
        assert_eq!(broken(|job| job.kind = format!("service:{}", "x".repeat(60))), "kind");
        assert_eq!(broken(|job| job.demand.gpu_milli = 1500), "gpus");
        assert_eq!(broken(|job| job.demand.gpu_milli = 9000), "gpus");
        assert_eq!(broken(|job| job.timeout_ms = 0), "timeout");
        assert_eq!(broken(|job| job.max_retries = 101), "max_retries");
        assert_eq!(broken(|job| job.demand.models = vec!["*".into()]), "models");
        assert_eq!(broken(|job| drop(job.params.insert("x".into(), Param::Float(f64::NAN)))), "params");
    }
}
