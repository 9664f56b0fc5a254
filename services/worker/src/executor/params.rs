//! Reading a job's parameters with bounds and with errors that say what to do. What a parameter means is each executor's own.

use std::fmt::Display;

use faultline_engine::job::{InvalidJob, JobSpec, Param};

/// Of a text that is no number, as much is shown.
const MAX_SHOWN: usize = 40;

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
    use super::*;

    #[test]
    fn a_text_where_a_number_is_needed_is_called_one() {
        let words = |param| out_of_bounds("fail_odds", &param, "a number", 0, 1).to_string();
        assert!(words(Param::Text("1.0".into())).ends_with("from 0 to 1; it is the text \"1.0\": write 1"));
        assert!(words(Param::Text("much".into())).ends_with("it is the text \"much\""));
        assert!(words(Param::Float(1.5)).ends_with("from 0 to 1"));
    }
}
