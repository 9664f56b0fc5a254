//! Values on the command line: each parser says what is wrong and what would be right. Nothing is sent from here.

use std::collections::BTreeMap;

use faultline_engine::job::{JobRef, Param};
use faultline_engine::words::job_rate;
use faultline_engine::workload::{WorkloadConfig, check_load};
use faultline_protocol::messages::{JobState, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS};
use faultline_runtime::values::number;
pub(crate) use faultline_runtime::values::{duration, gpus, positive_duration, priority};

/// The most GPU memory that can be asked for: 1 TiB a GPU, above every model in the catalogue.
const MAX_GPU_MEMORY_MIB: u32 = 1 << 20;
/// What `--unbounded` still refuses: a billion jobs a minute is a mistake.
const ABSURD_RATE: f64 = 1e9;

pub(crate) fn gpu_memory_mib(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(mib) if mib <= MAX_GPU_MEMORY_MIB => Ok(mib),
        Ok(_) => Err(format!("at most {MAX_GPU_MEMORY_MIB} MiB: no GPU has more")),
        Err(_) => Err("GPU memory is a whole number of MiB, such as 4096".to_owned()),
    }
}

/// `key=value`, where the value keeps its text unless it is unmistakably something else.
pub(crate) fn param(text: &str) -> Result<(String, Param), String> {
    let (key, value) = named(text)?;
    let value = Param::from_text(value).map_err(|error| format!("{error} with --param-text {key}={value}"))?;
    Ok((key.to_owned(), value))
}

/// `key=value`, where the value is text.
pub(crate) fn param_text(text: &str) -> Result<(String, Param), String> {
    named(text).map(|(key, value)| (key.to_owned(), Param::Text(value.to_owned())))
}

fn named(text: &str) -> Result<(&str, &str), String> {
    let (key, value) = text.split_once('=').ok_or("write it as name=value, for example size=512")?;
    if key.is_empty() { Err("the name before `=` is missing".to_owned()) } else { Ok((key, value)) }
}

/// A job by its id or a part of it.
pub(crate) fn job_ref(text: &str) -> Result<JobRef, String> {
    text.parse().map_err(|error: faultline_engine::job::InvalidJob| error.problem)
}

pub(crate) fn job_state(text: &str) -> Result<JobState, String> {
    state_of(&text.to_ascii_lowercase()).ok_or_else(|| format!("use one of {}", JobState::ALL.map(JobState::as_str).join(", ")))
}

/// The state that a name stands for.
pub(crate) fn state_of(name: &str) -> Option<JobState> {
    JobState::ALL.into_iter().find(|state| state.as_str() == name)
}

/// A node's name, which must be able to stand in a subject.
pub(crate) fn node_name(text: &str) -> Result<String, String> {
    if faultline_engine::job::is_token(text) {
        Ok(text.to_owned())
    } else {
        Err("a node's name is 1 to 64 letters, digits, `-` or `_`, such as gpu-node-01".to_owned())
    }
}

fn presets() -> String {
    RATE_PRESETS.map(|(name, rate)| format!("`{name}` {rate}")).join(", ")
}

/// A job rate in jobs a minute.
pub(crate) fn rate(text: &str, unbounded: bool) -> Result<f64, String> {
    let rate = number(text, "the rate")?;
    if (MIN_RATE_PER_MINUTE..=MAX_RATE_PER_MINUTE).contains(&rate) {
        return Ok(rate);
    }
    if rate > MAX_RATE_PER_MINUTE && unbounded {
        return if rate <= ABSURD_RATE { Ok(rate) } else { Err(format!("{} is too high: at most {ABSURD_RATE}", job_rate(rate))) };
    }
    Err(format!(
        "{} is outside {MIN_RATE_PER_MINUTE} to {MAX_RATE_PER_MINUTE}; presets: {}; --unbounded lifts the upper bound",
        job_rate(rate),
        presets()
    ))
}

/// A share of the cluster's GPU time, in percent.
pub(crate) fn load(text: &str) -> Result<f64, String> {
    let percent = number(text.trim_end_matches('%').trim_end(), "the load")?;
    check_load(percent).map(|()| percent)
}

/// A preset's rate.
pub(crate) fn preset(name: &str) -> Result<(&'static str, f64), String> {
    faultline_protocol::messages::preset_rate(name).ok_or_else(|| format!("unknown preset `{name}`: use one of {}", presets()))
}

/// `sleep=4,compute=3`: relative weights; kinds left out get 0.
pub(crate) fn mix(text: &str) -> Result<BTreeMap<String, f64>, String> {
    text.parse::<WorkloadConfig>().map(WorkloadConfig::to_weights).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_memory_is_a_whole_number_that_fits() {
        assert_eq!(gpu_memory_mib("4096"), Ok(4096));
        assert!(gpu_memory_mib("-1").is_err() && gpu_memory_mib("99999999").is_err());
    }

    #[test]
    fn params_follow_the_one_rule_and_texts_are_never_guessed() {
        #[derive(serde::Deserialize)]
        struct Case {
            typed: String,
            value: Option<Param>,
        }
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../../../shared/engine/src/job/param_cases.json")).unwrap();
        for Case { typed, value } in cases {
            let given = format!("a={typed}");
            assert_eq!(param(&given).ok(), value.map(|value| ("a".to_owned(), value)), "{typed:?}");
            assert_eq!(param_text(&given), Ok(("a".to_owned(), Param::Text(typed))));
        }
        let refused = param("id=99999999999999999999").unwrap_err();
        assert!(refused.contains("does not fit") && refused.contains("--param-text id=99999999999999999999"), "{refused}");
        assert_eq!(param("key=a=b"), Ok(("key".into(), Param::Text("a=b".into()))));
        assert!(param("key").is_err() && param("=1").is_err() && param_text("key").is_err());
    }

    #[test]
    fn rates_keep_their_bounds() {
        assert_eq!(rate("2", false), Ok(2.0));
        let refused = rate("51", false).unwrap_err();
        assert!(refused.contains("0.1 to 50") && refused.contains("`High Load` 10") && refused.contains("--unbounded"), "{refused}");
        assert_eq!(rate("51", true), Ok(51.0));
        for nonsense in ["-1", "0", "NaN", "inf", "1e12", ""] {
            assert!(rate(nonsense, true).is_err(), "{nonsense}");
        }
        assert_eq!(preset("high-load"), Ok(("High Load", 10.0)));
        assert!(preset("warp").unwrap_err().contains("MAXIMUM"));
    }

    #[test]
    fn mixes_name_known_kinds() {
        let weights = mix("sleep=4, fault=0.5").unwrap();
        assert_eq!(
            weights.into_iter().map(|(kind, weight)| format!("{kind} {weight}")).collect::<Vec<_>>(),
            ["compute 0", "fault 0.5", "matrix 0", "sleep 4"]
        );
        for nonsense in ["", "sleep", "sleep=-1", "sleep=NaN", "sleep=0", "nap=1", "sleep=1,sleep=2"] {
            assert!(mix(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn states_and_names_are_checked() {
        assert_eq!(job_state("Dead"), Ok(JobState::Dead));
        assert!(job_state("finished").unwrap_err().contains("committed"));
        assert!(node_name("gpu-node-01").is_ok() && node_name("a.b").is_err() && node_name("").is_err());
        assert!(job_ref("123").unwrap_err().contains("at least 8 characters"));
        assert!(priority("urgent").is_ok() && priority("asap").unwrap_err().contains("normal"));
    }

    proptest::proptest! {
        #[test]
        fn no_parser_panics(text in ".{0,40}") {
            let _ = (duration(&text), gpus(&text), gpu_memory_mib(&text), param(&text), rate(&text, true), mix(&text));
        }
    }
}
