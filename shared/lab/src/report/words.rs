//! Figures of metrics as people read them.

use faultline_engine::words::{about, count};

use crate::tables::Metric;

/// A value of a metric with its unit.
pub fn in_words(metric: &Metric, value: f64) -> String {
    if metric.is_share() {
        return percent(value);
    }
    if metric.is_duration() {
        return seconds(value);
    }
    if metric.name.ends_with("_gpu_h") || metric.name == "gpu_h" { format!("{} GPU h", rounded(value)) } else { rounded(value) }
}

/// A difference of two values of a metric: shares differ by points.
pub fn difference_in_words(metric: &Metric, value: f64) -> String {
    if metric.is_share() {
        return format!("{} points", tidy(100.0 * value, 2));
    }
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", in_words(metric, value.abs()))
}

pub(crate) fn percent(share: f64) -> String {
    format!("{} %", tidy(100.0 * share, if share.abs() < 0.1 { 2 } else { 1 }))
}

pub(crate) fn seconds(seconds: f64) -> String {
    if seconds == 0.0 {
        return "0".to_owned();
    }
    about((seconds.max(0.0) * 1_000.0).round() as u64)
}

/// Three digits or so.
pub(crate) fn rounded(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(value.abs().round() as u64));
    }
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    tidy(value, places)
}

/// Without zeros at the end, and never `-0`.
fn tidy(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A p value: small ones by their bound.
pub fn chance(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") }
}

/// `a`, `a and b`, `a, b, and c`.
pub(crate) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [others @ .., last] => format!("{}, and {last}", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_their_units() {
        let named = |name: &str| Metric::named(name).unwrap();
        assert_eq!(in_words(named("goodput"), 0.8321), "83.2 %");
        assert_eq!(in_words(named("lost_share"), 0.0123), "1.23 %");
        assert_eq!(in_words(named("wait_p90_s"), 5_400.0), "1 h 30 min");
        assert_eq!(in_words(named("lost_gpu_h"), 12_345.6), "12,346 GPU h");
        assert_eq!(in_words(named("slowdown_mean"), 3.456), "3.46");
        assert_eq!(difference_in_words(named("goodput"), -0.0213), "-2.13 points");
        assert_eq!(difference_in_words(named("jct_mean_s"), -90.0), "-1 min 30 s");
        assert_eq!(difference_in_words(named("goodput"), -0.000_001), "0 points");
        assert_eq!((chance(0.000_04), chance(0.0312)), ("p < 0.001".to_owned(), "p = 0.031".to_owned()));
    }
}
