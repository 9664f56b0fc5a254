//! Reading a job's parameters with bounds and with errors that say what to do. What a parameter means is each executor's own.

use std::fmt::Display;

use faultline_engine::job::{InvalidJob, JobSpec};

/// A whole number from `min` to `max`; `default` when the job does not say.
pub fn whole(spec: &JobSpec, name: &str, default: u64, min: u64, max: u64) -> Result<u64, InvalidJob> {
    let Some(param) = spec.params.get(name) else { return Ok(default) };
    param.as_u64().filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_bounds(name, "a whole number", min, max))
}

/// A number from `min` to `max`; `default` when the job does not say.
pub fn number(spec: &JobSpec, name: &str, default: f64, min: f64, max: f64) -> Result<f64, InvalidJob> {
    let Some(param) = spec.params.get(name) else { return Ok(default) };
    param.as_f64().filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_bounds(name, "a number", min, max))
}

fn out_of_bounds(name: &str, what: &str, min: impl Display, max: impl Display) -> InvalidJob {
    InvalidJob::new("params", format!("`{name}` must be {what} from {min} to {max}"))
}
