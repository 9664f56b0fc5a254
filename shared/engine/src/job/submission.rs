//! What was submitted, as it is shown while a job waits, while it runs and after its end, and as it is submitted again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Demand, JobId, JobSpec, Origin, Param, Params, Priority};

/// Parameters that take more than this, in bytes of names and values, are left out of a job's record.
const MAX_RECORDED_BYTES: usize = 8 * 1024;

/// All of a spec that a record and a view do not have anyway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Submission {
    pub demand: Demand,
    /// How long the job is expected to run, in milliseconds.
    pub expected_ms: u64,
    /// An attempt that runs longer fails, in milliseconds.
    pub timeout_ms: u64,
    /// How often the job itself may fail and be tried again.
    pub max_retries: u32,
    #[serde(default)]
    pub params: Params,
    /// Greater than 0 when `params` is empty because the parameters were too long to be kept: how many bytes they had.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub params_left_out_bytes: u64,
    #[serde(default, skip_serializing_if = "Origin::is_unstated")]
    pub origin: Origin,
}

/// Why a job cannot be submitted again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    #[error("what was submitted is not known: the job ended before it was read, or an older build wrote its record")]
    Unknown,
    #[error("its {0} bytes of parameters were too long to be kept in its record: submit it from where it was submitted first")]
    Parameters(u64),
}

impl From<&JobSpec> for Submission {
    fn from(spec: &JobSpec) -> Self {
        Self {
            demand: spec.demand.clone(),
            expected_ms: spec.expected_ms,
            timeout_ms: spec.timeout_ms,
            max_retries: spec.max_retries,
            params: spec.params.clone(),
            params_left_out_bytes: 0,
            origin: spec.origin.clone(),
        }
    }
}

impl Submission {
    /// As much as a record holds: there are many records, and one may have 128 KiB of parameters.
    pub fn for_record(spec: &JobSpec) -> Self {
        let bytes: usize = spec.params.iter().map(|(name, value)| name.len() + size(value)).sum();
        if bytes <= MAX_RECORDED_BYTES {
            return Self::from(spec);
        }
        let left_out = JobSpec { params: Params::new(), ..spec.clone() };
        Self { params_left_out_bytes: bytes as u64, ..Self::from(&left_out) }
    }

    /// The same job again, as a new one. `from` is the job that was submitted so.
    pub fn again(
        &self,
        from: JobId,
        (name, kind): (&str, &str),
        priority: Priority,
        (id, now_ms): (JobId, u64),
        by: &str,
    ) -> Result<JobSpec, NotKept> {
        if self.params_left_out_bytes > 0 {
            return Err(NotKept::Parameters(self.params_left_out_bytes));
        }
        Ok(JobSpec {
            id,
            name: name.to_owned(),
            kind: kind.to_owned(),
            params: self.params.clone(),
            priority,
            demand: self.demand.clone(),
            expected_ms: self.expected_ms,
            timeout_ms: self.timeout_ms,
            max_retries: self.max_retries,
            submitted_at_ms: now_ms,
            origin: Origin { by: by.to_owned(), resubmitted_from: Some(from) },
        })
    }
}

fn size(value: &Param) -> usize {
    match value {
        Param::Text(text) => text.len(),
        Param::Bool(_) | Param::Int(_) | Param::Float(_) => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::*;

    fn with_text(bytes: usize) -> JobSpec {
        let params = (0..bytes.div_ceil(4096)).map(|at| (format!("text_{at}"), Param::Text("x".repeat(4096.min(bytes - at * 4096)))));
        JobSpec { params: params.collect(), ..spec() }
    }

    #[test]
    fn a_job_submitted_again_is_the_same_but_for_its_id_and_origin() {
        let first = JobSpec { params: Params::from([("size".to_owned(), Param::Text("007".into()))]), ..spec() };
        let kept = Submission::for_record(&first);
        let now = (JobId::new(9, 9), 9);
        let again = kept.again(first.id, (&first.name, &first.kind), Priority::Low, now, "command").unwrap();
        assert_eq!(again.origin, Origin { by: "command".into(), resubmitted_from: Some(first.id) });
        assert_eq!(again, JobSpec { id: now.0, submitted_at_ms: 9, priority: Priority::Low, origin: again.origin.clone(), ..first });
    }

    #[test]
    fn a_record_is_bounded_and_says_what_it_left_out() {
        let small = with_text(8_000);
        assert_eq!(Submission::for_record(&small).params, small.params);
        let large = with_text(100_000);
        assert!(large.validate().is_ok());
        let kept = Submission::for_record(&large);
        assert!(kept.params.is_empty() && kept.params_left_out_bytes > 100_000, "{kept:?}");
        let refused = kept.again(large.id, ("a", "sleep"), Priority::Low, (large.id, 1), "").unwrap_err();
        assert_eq!(refused, NotKept::Parameters(kept.params_left_out_bytes));
        assert_eq!(Submission::from(&large).params, large.params, "the leader shows all of it");
    }

    #[test]
    fn a_statement_that_breaks_a_line_is_refused() {
        let by = |by: &str| JobSpec { origin: Origin::by(by), ..spec() }.validate().map_err(|error| error.field);
        assert_eq!(by("command, user ann@login-1"), Ok(()));
        assert_eq!(by("a\nb"), Err("origin"));
        assert_eq!(by(&"x".repeat(121)), Err("origin"));
    }
}
