//! Values on the command line: each parser says what is wrong and what would be right. Nothing is sent from here.

use std::collections::BTreeMap;
use std::time::Duration;

use faultline_engine::job::{GPU_MILLI, JobId, MAX_GPUS, Param, Priority};
use faultline_engine::workload::WorkloadConfig;
use faultline_protocol::messages::{JobState, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS};

/// No duration on a command line is longer: seven days.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most GPU memory that can be asked for: 1 TiB a GPU, above every model in the catalogue.
const MAX_GPU_MEMORY_MIB: u32 = 1 << 20;
/// What `--unbounded` still refuses: nobody means a billion jobs a minute.
const ABSURD_RATE: f64 = 1e9;
fn number(text: &str, what: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(format!("{what} must be a number, such as 0.5 or 4")),
    }
}

/// `2s`, `500ms`, `1m30s`, `0.5h`, `2d`: parts of a number and a unit, up to seven days.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const HOW: &str = "write a number with its unit: 500ms, 2s, 1m30s, 1h or 2d";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(HOW.to_owned());
    }
    if rest.starts_with('-') {
        return Err(format!("a duration cannot be negative; {HOW}"));
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let amount: f64 = amount.parse().map_err(|_| HOW.to_owned())?;
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" => return Err(format!("the unit is missing: did you mean {amount}s or {amount}ms?")),
            _ => return Err(format!("the unit is not ms, s, m, h or d; {HOW}")),
        };
        seconds += amount * factor;
        rest = next;
    }
    if seconds > LONGEST.as_secs_f64() {
        return Err("longer than 7 days".to_owned());
    }
    // Rounded to milliseconds, the unit of the protocol.
    Ok(Duration::from_millis((seconds * 1000.0).round() as u64))
}

/// As [`duration`], but not zero.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be at least 1 ms".to_owned()),
        length => Ok(length),
    }
}

/// GPUs in thousandths: a share below 1, or whole numbers up to 8.
pub(crate) fn gpus(text: &str) -> Result<u32, String> {
    let value = number(text, "the number of GPUs")?;
    if value < 0.0 {
        return Err("the number of GPUs cannot be negative; 0 asks for none".to_owned());
    }
    if value > f64::from(MAX_GPUS) {
        return Err(format!("the largest node has {MAX_GPUS} GPUs"));
    }
    let milli = (value * f64::from(GPU_MILLI)).round() as u32;
    if milli > GPU_MILLI && !milli.is_multiple_of(GPU_MILLI) {
        return Err("above one GPU only whole numbers can be placed: use 1, 2, ... 8, or a share below 1".to_owned());
    }
    if milli == 0 && value > 0.0 {
        return Err("the smallest share is 0.001".to_owned());
    }
    Ok(milli)
}

pub(crate) fn gpu_memory_mib(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(mib) if mib <= MAX_GPU_MEMORY_MIB => Ok(mib),
        Ok(_) => Err(format!("more than {MAX_GPU_MEMORY_MIB} MiB fits no GPU")),
        Err(_) => Err("GPU memory is a whole number of MiB, such as 4096".to_owned()),
    }
}

/// `key=value`; the value is a boolean, a whole number, a number or text, whichever it looks like first.
pub(crate) fn param(text: &str) -> Result<(String, Param), String> {
    let (key, value) = text.split_once('=').ok_or("write it as name=value, for example --param size=512")?;
    if key.is_empty() {
        return Err("the name before `=` is missing".to_owned());
    }
    let value = if let Ok(flag) = value.parse() {
        Param::Bool(flag)
    } else if let Ok(whole) = value.parse() {
        Param::Int(whole)
    } else if let Some(real) = value.parse::<f64>().ok().filter(|real| real.is_finite()) {
        Param::Float(real)
    } else {
        Param::Text(value.to_owned())
    };
    Ok((key.to_owned(), value))
}

pub(crate) fn priority(text: &str) -> Result<Priority, String> {
    text.to_ascii_lowercase().parse().map_err(|error: faultline_engine::job::InvalidJob| error.problem)
}

pub(crate) fn job_id(text: &str) -> Result<JobId, String> {
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
        return if rate <= ABSURD_RATE { Ok(rate) } else { Err(format!("{rate} jobs a minute is absurd: at most {ABSURD_RATE}")) };
    }
    Err(format!(
        "{rate} jobs a minute is outside {MIN_RATE_PER_MINUTE} to {MAX_RATE_PER_MINUTE}; presets: {}; --unbounded lifts the upper bound",
        presets()
    ))
}

/// A preset's rate.
pub(crate) fn preset(name: &str) -> Result<(&'static str, f64), String> {
    faultline_protocol::messages::preset_rate(name).ok_or_else(|| format!("`{name}` is no preset: use one of {}", presets()))
}

/// `sleep=4,compute=3`: relative weights; kinds left out get 0.
pub(crate) fn mix(text: &str) -> Result<BTreeMap<String, f64>, String> {
    text.parse::<WorkloadConfig>().map(WorkloadConfig::to_weights).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_sense() {
        let ms = |text| duration(text).map(|length| length.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2s"), Ok(2_000));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("0.5h"), Ok(1_800_000));
        assert_eq!(ms("7d"), Ok(604_800_000));
        assert!(ms("5").unwrap_err().contains("5s or 5ms"));
        assert!(ms("-5s").unwrap_err().contains("negative"));
        assert!(ms("8d").unwrap_err().contains("7 days"));
        for nonsense in ["", "s", "5x", "NaN", "inf", "1..2s", "5 s", "99999999999999999999999999999999999d", "1e999s"] {
            assert!(ms(nonsense).is_err(), "{nonsense}");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn gpus_are_shares_or_whole() {
        assert_eq!(gpus("0.5"), Ok(500));
        assert_eq!(gpus("8"), Ok(8000));
        assert_eq!(gpus("0"), Ok(0));
        assert!(gpus("-1").unwrap_err().contains("negative"));
        assert!(gpus("1.5").unwrap_err().contains("whole"));
        assert!(gpus("9").unwrap_err().contains('8'));
        assert!(gpus("0.0001").unwrap_err().contains("0.001"));
        for nonsense in ["NaN", "inf", "-inf", "one", ""] {
            assert!(gpus(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!(gpu_memory_mib("4096"), Ok(4096));
        assert!(gpu_memory_mib("-1").is_err() && gpu_memory_mib("99999999").is_err());
    }

    #[test]
    fn params_take_the_narrowest_type() {
        let value = |text| param(text).map(|(_, value)| value);
        assert_eq!(value("a=true"), Ok(Param::Bool(true)));
        assert_eq!(value("a=-3"), Ok(Param::Int(-3)));
        assert_eq!(value("a=0.5"), Ok(Param::Float(0.5)));
        assert_eq!(value("a=NaN"), Ok(Param::Text("NaN".into())));
        assert_eq!(param("key=a=b"), Ok(("key".into(), Param::Text("a=b".into()))));
        assert!(param("key").is_err() && param("=1").is_err());
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
        assert!(job_id("123").unwrap_err().contains("ULID"));
        assert!(priority("urgent").is_ok() && priority("asap").unwrap_err().contains("normal"));
    }

    proptest::proptest! {
        #[test]
        fn no_parser_panics(text in ".{0,40}") {
            let _ = (duration(&text), gpus(&text), gpu_memory_mib(&text), param(&text), rate(&text, true), mix(&text));
        }
    }
}
