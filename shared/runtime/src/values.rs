//! Values as people write them on a command line or in a file: each parser says what is wrong and what would be right.

use std::time::Duration;

use faultline_engine::job::{GPU_MILLI, InvalidJob, MAX_GPUS, Priority};

/// No duration is longer: seven days.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A finite number; `what` it is stands in the complaint.
pub fn number(text: &str, what: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err(format!("{what} must be a number, such as 0.5 or 4")),
    }
}

/// `2s`, `500ms`, `1m30s`, `0.5h`, `2d`: parts of a number and a unit, up to seven days.
pub fn duration(text: &str) -> Result<Duration, String> {
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
pub fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("must be at least 1 ms".to_owned()),
        length => Ok(length),
    }
}

/// GPUs in thousandths: a share below 1, or whole numbers up to 8.
pub fn gpus(text: &str) -> Result<u32, String> {
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

/// A priority by its name.
pub fn priority(text: &str) -> Result<Priority, String> {
    text.to_ascii_lowercase().parse().map_err(|error: InvalidJob| error.problem)
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
    }

    #[test]
    fn priorities_have_names() {
        assert!(priority("urgent").is_ok() && priority("asap").unwrap_err().contains("normal"));
    }

    proptest::proptest! {
        #[test]
        fn no_parser_panics(text in ".{0,40}") {
            let _ = (duration(&text), gpus(&text), priority(&text));
        }
    }
}
