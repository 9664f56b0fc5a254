//! The parameters of the kinds that come with a worker: which there are, with their bounds and defaults. The command and the REST API judge a
//! job by them before it is queued, and the worker reads them here, so that what was confirmed is not refused later.

use std::fmt::Display;

use super::{InvalidJob, JobSpec, MAX_TIMEOUT_MS, Param, clip};

/// Up to which number `compute` counts primes, at most.
pub const MAX_COMPUTE_LIMIT: u64 = 1_000_000_000;
/// Rows and columns that `matrix` multiplies, at most.
pub const MAX_MATRIX_SIZE: u64 = 4096;
const DEFAULT_COMPUTE_LIMIT: u64 = 1_000_000;
const DEFAULT_MATRIX_SIZE: u64 = 256;
const MAX_SEED: u64 = i64::MAX as u64;
/// So much is shown of a text that is not a number.
const MAX_SHOWN: usize = 40;

/// How often a `fault` job misbehaves, by way.
pub const ODDS: [&str; 4] = ["fail_odds", "panic_odds", "hang_odds", "oom_odds"];

/// What a built-in kind reads; `None` for a kind of one's own. One that is derived from a built-in kind, such as `sleep:mine`, is one's own.
pub fn names(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "sleep" => Some(&["duration_ms"]),
        "compute" => Some(&["limit", "hold_ms"]),
        "matrix" => Some(&["size", "seed", "hold_ms"]),
        "fault" => Some(&["fail_odds", "panic_odds", "hang_odds", "oom_odds", "duration_ms"]),
        _ => None,
    }
}

/// Refuses a job before it is queued whose parameters its kind does not know, or cannot use.
pub fn judge(spec: &JobSpec) -> Result<(), InvalidJob> {
    let Some(known) = names(&spec.kind) else { return Ok(()) };
    if let Some(name) = spec.params.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(InvalidJob::new(
            "params",
            format!("unknown parameter `{}` of a {} job: use {}", clip(name), spec.kind, known.join(", ")),
        ));
    }
    check(&spec.kind, spec)
}

/// Refuses values that this built-in kind cannot use. A name that it does not read harms no job that is queued already.
pub fn check(kind: &str, spec: &JobSpec) -> Result<(), InvalidJob> {
    match kind {
        "sleep" => duration_ms(spec).map(drop),
        "compute" => compute_limit(spec).and_then(|_| hold_ms(spec)).map(drop),
        "matrix" => matrix_size(spec).and_then(|_| matrix_seed(spec)).and_then(|_| hold_ms(spec)).map(drop),
        "fault" => odds(spec).and_then(|_| duration_ms(spec)).map(drop),
        _ => Ok(()),
    }
}

/// `duration_ms`: for how long the job runs, in milliseconds; as long as it is expected to, when it does not say.
pub fn duration_ms(spec: &JobSpec) -> Result<u64, InvalidJob> {
    whole(spec, "duration_ms", spec.expected_ms.min(MAX_TIMEOUT_MS), 0, MAX_TIMEOUT_MS)
}

/// `hold_ms`: for how long the job keeps its GPUs besides its real work, in milliseconds.
pub fn hold_ms(spec: &JobSpec) -> Result<u64, InvalidJob> {
    whole(spec, "hold_ms", 0, 0, MAX_TIMEOUT_MS)
}

/// `limit`: up to which number `compute` counts primes.
pub fn compute_limit(spec: &JobSpec) -> Result<u64, InvalidJob> {
    whole(spec, "limit", DEFAULT_COMPUTE_LIMIT, 0, MAX_COMPUTE_LIMIT)
}

/// `size`: rows and columns of the matrices.
pub fn matrix_size(spec: &JobSpec) -> Result<u64, InvalidJob> {
    whole(spec, "size", DEFAULT_MATRIX_SIZE, 1, MAX_MATRIX_SIZE)
}

/// `seed` of the matrices; none when the job does not say.
pub fn matrix_seed(spec: &JobSpec) -> Result<Option<u64>, InvalidJob> {
    spec.params.get("seed").map(|_| whole(spec, "seed", 0, 0, MAX_SEED)).transpose()
}

/// In the order of [`ODDS`].
pub fn odds(spec: &JobSpec) -> Result<[f64; 4], InvalidJob> {
    let mut odds = [0.0; 4];
    for (slot, name) in odds.iter_mut().zip(ODDS) {
        *slot = number(spec, name, 0.0, 0.0, 1.0)?;
    }
    // A little above 1 may be rounding.
    if odds.iter().sum::<f64>() > 1.0 + 1e-9 {
        return Err(InvalidJob::new("params", "the odds of `fail_odds`, `panic_odds`, `hang_odds` and `oom_odds` add up to more than 1"));
    }
    Ok(odds)
}

/// A whole number from `min` to `max`; `default` when the job does not say.
pub fn whole(spec: &JobSpec, name: &str, default: u64, min: u64, max: u64) -> Result<u64, InvalidJob> {
    let Some(param) = spec.params.get(name) else { return Ok(default) };
    param.as_u64().filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_bounds(name, param, "a whole number", min, max))
}

/// A number from `min` to `max`; `default` when the job does not say.
pub fn number(spec: &JobSpec, name: &str, default: f64, min: f64, max: f64) -> Result<f64, InvalidJob> {
    let Some(param) = spec.params.get(name) else { return Ok(default) };
    param.as_f64().filter(|value| (min..=max).contains(value)).ok_or_else(|| out_of_bounds(name, param, "a number", min, max))
}

fn out_of_bounds(name: &str, param: &Param, what: &str, min: impl Display, max: impl Display) -> InvalidJob {
    let found = text_words(param).unwrap_or_default();
    InvalidJob::new("params", format!("`{name}` must be {what} from {min} to {max}{found}"))
}

/// Of a text, that it is one: `1.0` on a command line is, since a number would not print back the same.
fn text_words(param: &Param) -> Option<String> {
    let Param::Text(text) = param else { return None };
    let as_number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    let remedy = as_number.map(|number| format!(": write {number}")).unwrap_or_default();
    let start: String = text.chars().take(MAX_SHOWN).collect();
    Some(format!("; it is the text \"{start}\"{remedy}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::spec;
    use super::*;

    fn judged(kind: &str, params: &[(&str, Param)]) -> Result<(), String> {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        judge(&JobSpec { kind: kind.into(), params, ..spec() }).map_err(|error| {
            assert_eq!(error.field, "params");
            error.problem
        })
    }

    #[test]
    fn a_text_where_a_number_is_needed_is_called_one() {
        let words = |param| out_of_bounds("fail_odds", &param, "a number", 0, 1).to_string();
        assert!(words(Param::Text("1.0".into())).ends_with("from 0 to 1; it is the text \"1.0\": write 1"));
        assert!(words(Param::Text("much".into())).ends_with("it is the text \"much\""));
        assert!(words(Param::Float(1.5)).ends_with("from 0 to 1"));
    }

    #[test]
    fn a_parameter_that_a_built_in_kind_does_not_read_is_refused_with_those_that_it_does() {
        for kind in ["sleep", "compute", "matrix", "fault"] {
            let error = judged(kind, &[("colour", Param::Int(1))]).unwrap_err();
            assert!(error.starts_with(&format!("unknown parameter `colour` of a {kind} job: use ")), "{error}");
            names(kind).unwrap().iter().for_each(|name| assert!(error.contains(name), "{error}"));
            // Every name that it lists is read.
            for name in names(kind).unwrap() {
                assert!(judged(kind, &[(name, Param::Text("much".into()))]).unwrap_err().contains(name), "{name} of {kind}");
            }
        }
        for own in ["mine", "service:mine", "sleep:mine"] {
            assert_eq!(judged(own, &[("colour", Param::Int(1)), ("size", Param::Text("large".into()))]), Ok(()));
        }
    }

    #[test]
    fn a_value_that_a_built_in_kind_cannot_use_is_refused_with_its_bounds() {
        for (kind, name, value, words) in [
            ("sleep", "duration_ms", Param::Int(-1), "from 0 to 604800000"),
            ("compute", "limit", Param::Int(2_000_000_000), "from 0 to 1000000000"),
            ("matrix", "size", Param::Int(0), "from 1 to 4096"),
            ("matrix", "seed", Param::Int(-1), "a whole number from 0"),
            ("matrix", "hold_ms", Param::Float(0.5), "a whole number"),
            ("fault", "fail_odds", Param::Float(1.5), "from 0 to 1"),
        ] {
            let error = judged(kind, &[(name, value)]).unwrap_err();
            assert!(error.contains(&format!("`{name}` must be")) && error.contains(words), "{error}");
        }
        let both = judged("fault", &[("fail_odds", Param::Float(0.6)), ("hang_odds", Param::Float(0.6))]);
        assert!(both.unwrap_err().contains("add up to more than 1"));
        assert_eq!(judged("fault", &[("fail_odds", Param::Int(1)), ("duration_ms", Param::Int(5))]), Ok(()));
    }
}
