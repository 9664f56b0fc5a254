//! Expectations: what an experiment's results are checked against, so that a script learns of a change by the exit code.
//!
//! `goodput.fgd >= 0.9` is about the mean over the seeds. `diff(fgd, best-fit).goodput > 0` holds when the whole paired 95 % interval of the
//! difference does: one lucky seed is not enough.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::values::Span;
use crate::report::{difference_in_words, in_words};
use crate::statistics::{Interval, mean, paired};
use crate::tables::{Expectation, Group, METRICS, Metric, SummaryLine, over_shared_seeds};

/// One expectation.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    pub metric: &'static Metric,
    pub of: Of,
    pub is: Comparison,
    pub bound: f64,
}

/// Whose figure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    Policy(String),
    /// The first minus the second.
    Difference(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Comparison {
    /// Longer signs first, so that `>=` is not read as `>`.
    const ALL: [(&'static str, Comparison); 4] = [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Less), (">", Self::More)];

    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::AtMost => value <= bound,
            Comparison::More => value > bound,
            Comparison::AtLeast => value >= bound,
        }
    }
}

impl Expect {
    /// The policies that it names.
    pub fn policies(&self) -> Vec<&str> {
        match &self.of {
            Of::Policy(policy) => vec![policy],
            Of::Difference(a, b) => vec![a, b],
        }
    }

    /// Whether it holds for these runs, over the seeds that the policies share, and the figures that decided.
    pub fn check(&self, text: &str, summary: &[SummaryLine]) -> Expectation {
        let shared = over_shared_seeds(summary, Group::All, "", self.metric.name);
        let of = |policy: &str| -> Vec<f64> { shared.get(policy).into_iter().flat_map(BTreeMap::values).copied().collect() };
        let (holds, because) = match &self.of {
            Of::Policy(policy) => self.of_policy(&of(policy)),
            Of::Difference(a, b) => self.of_difference(&of(a), &of(b)),
        };
        Expectation { text: text.to_owned(), holds, because }
    }

    fn of_policy(&self, values: &[f64]) -> (bool, String) {
        if values.is_empty() {
            return (false, "no run has a value".to_owned());
        }
        let mean = mean(values);
        (self.is.holds(mean, self.bound), in_words(self.metric, mean))
    }

    fn of_difference(&self, a: &[f64], b: &[f64]) -> (bool, String) {
        let Some(difference) = paired(a, b) else {
            return (false, "fewer than two seeds have both values: no interval".to_owned());
        };
        let Interval { mean, low, high } = difference.interval;
        let words = |value| difference_in_words(self.metric, value);
        let because = format!("{} ({} to {})", words(mean), words(low), words(high));
        (self.is.holds(low, self.bound) && self.is.holds(high, self.bound), because)
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Comparison::ALL.into_iter().filter_map(|(sign, is)| Some((text.find(sign)?, sign, is))).min_by_key(|(at, ..)| *at);
        let Some((at, sign, is)) = found else {
            return Err(format!("invalid expectation `{text}`: write it as `goodput.fgd >= 0.9` or `diff(fgd, best-fit).goodput > 0`"));
        };
        let (left, right) = (text[..at].trim(), text[at + sign.len()..].trim());
        let (metric, of) = subject(left)?;
        let metric = Metric::named(metric).ok_or_else(|| unknown_metric(metric))?;
        if let Of::Difference(a, b) = &of
            && a == b
        {
            return Err(format!("`{left}` is of one policy with itself, which is always 0: name two policies"));
        }
        let bound = bound(metric, right)
            .ok_or_else(|| format!("invalid bound `{right}` in `{text}`: write a number, such as {}", example(metric)))?;
        let expect = Self { metric, of, is, bound };
        expect.check_bound(right)?;
        Ok(expect)
    }
}

impl Expect {
    /// A bound that no run, or every run, keeps says nothing.
    fn check_bound(&self, written: &str) -> Result<(), String> {
        let Self { metric, of, is, bound } = self;
        let (lowest, highest) = match of {
            Of::Policy(_) => metric.range(),
            Of::Difference(..) => (metric.range().0 - metric.range().1, metric.range().1 - metric.range().0),
        };
        let always = match is {
            Comparison::Less => highest < *bound,
            Comparison::AtMost => highest <= *bound,
            Comparison::More => lowest > *bound,
            Comparison::AtLeast => lowest >= *bound,
        };
        let never = match is {
            Comparison::Less => lowest >= *bound,
            Comparison::AtMost => lowest > *bound,
            Comparison::More => highest <= *bound,
            Comparison::AtLeast => highest < *bound,
        };
        if !always && !never {
            return Ok(());
        }
        let what = if always { "always holds" } else { "can never hold" };
        let (which, is_share) = (if matches!(of, Of::Policy(_)) { "" } else { "a difference of " }, highest <= 1.0);
        let range = if is_share { format!("is from {lowest} to {highest}") } else { format!("is never below {lowest}") };
        let percent = is_share && !written.ends_with('%') && (1.0..=100.0).contains(&bound.abs()) && *bound != 1.0;
        let remedy = if percent {
            format!("write `{}` or `{bound} %`", bound / 100.0)
        } else {
            format!("write another bound, such as {}", example(metric))
        };
        Err(format!("the bound `{written}` {what}, because {which}{} {range}: {remedy}", metric.name))
    }
}

/// A bound that this metric could have.
fn example(metric: &Metric) -> &'static str {
    match metric {
        metric if metric.is_share() => "`0.9` or `90 %`",
        metric if metric.is_duration() => "`2 h`",
        _ => "`1.5`",
    }
}

/// `METRIC.POLICY` or `diff(A, B).METRIC`.
fn subject(text: &str) -> Result<(&str, Of), String> {
    if let Some(rest) = text.strip_prefix("diff(") {
        let parts = rest.split_once(").").and_then(|(policies, metric)| Some((policies.split_once(',')?, metric.trim())));
        let ((a, b), metric) = parts.ok_or_else(|| format!("invalid difference `{text}`: write it as `diff(fgd, best-fit).goodput`"))?;
        return Ok((metric, Of::Difference(a.trim().to_owned(), b.trim().to_owned())));
    }
    let (metric, policy) = text.split_once('.').ok_or_else(|| format!("`{text}` names no policy: write it as `goodput.fgd`"))?;
    Ok((metric.trim(), Of::Policy(policy.trim().to_owned())))
}

pub(super) fn unknown_metric(name: &str) -> String {
    format!("unknown metric `{name}`: use one of {}", METRICS.iter().map(|metric| metric.name).collect::<Vec<_>>().join(", "))
}

/// A plain number, for shares a percentage, or for durations one with a unit.
fn bound(metric: &Metric, text: &str) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(percent) = text.strip_suffix('%') {
        return number(percent).filter(|_| metric.is_share()).map(|percent| percent / 100.0);
    }
    number(text).or_else(|| {
        let (sign, size) = text.strip_prefix('-').map_or((1.0, text), |size| (-1.0, size));
        let span: Span = size.parse().ok().filter(|_| metric.is_duration())?;
        Some(sign * span.ms as f64 / 1_000.0)
    })
}

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Of::Policy(policy) => f.write_str(policy),
            Of::Difference(a, b) => write!(f, "diff({a}, {b})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(policy: &str, seed: u64, value: f64) -> SummaryLine {
        let (policy, metric) = (policy.to_owned(), "goodput".to_owned());
        SummaryLine { policy, tie: "first".to_owned(), seed, group: Group::All, of: String::new(), metric, value: Some(value) }
    }

    fn check(text: &str) -> (bool, String) {
        let summary: Vec<SummaryLine> = [("fgd", [0.90, 0.92, 0.91]), ("best-fit", [0.88, 0.90, 0.895])]
            .into_iter()
            .flat_map(|(policy, values)| values.into_iter().zip(1..).map(move |(value, seed)| line(policy, seed, value)))
            .collect();
        let checked = text.parse::<Expect>().unwrap().check(text, &summary);
        (checked.holds, checked.because)
    }

    #[test]
    fn means_and_whole_intervals_decide() {
        assert_eq!(check("goodput.fgd >= 0.9"), (true, "91 %".to_owned()));
        assert_eq!(check("goodput.fgd > 91.5%"), (false, "91 %".to_owned()));
        assert!(check("diff(fgd, best-fit).goodput > 0").0, "0.015 to 0.02");
        assert!(!check("diff(fgd,best-fit).goodput > 1.8 %").0, "the mean is above, the interval is not");
        assert!(!check("diff(best-fit, fgd).goodput > 0").0);
        assert_eq!(check("goodput.first-fit > 0"), (false, "no run has a value".to_owned()));
    }

    #[test]
    fn durations_carry_units() {
        let expect: Expect = "wait_p90_s.fgd <= 2 h".parse().unwrap();
        assert_eq!((expect.bound, expect.is, expect.policies()), (7_200.0, Comparison::AtMost, vec!["fgd"]));
        assert_eq!("diff(a, b).jct_mean_s < -10 min".parse::<Expect>().unwrap().bound, -600.0);
        assert_eq!("diff(a, b).jct_mean_s < -90".parse::<Expect>().unwrap().bound, -90.0);
    }

    #[test]
    fn what_is_wrong_comes_with_a_remedy() {
        let wrong = |text: &str| text.parse::<Expect>().unwrap_err();
        assert!(wrong("goodput.fgd").contains("write it as `goodput.fgd >= 0.9`"));
        assert!(wrong("goodput >= 1").contains("names no policy"));
        assert!(wrong("speed.fgd >= 1").contains("use one of goodput, "));
        assert!(wrong("goodput.fgd >= fast").contains("`0.9` or `90 %`") && wrong("goodput.fgd > 2 h").contains("invalid bound"));
        assert!(wrong("diff(fgd).goodput > 1").contains("invalid difference"));
    }

    #[test]
    fn bounds_that_say_nothing_are_refused() {
        let wrong = |text: &str| text.parse::<Expect>().unwrap_err();
        let percent = wrong("goodput.fgd >= 90");
        assert_eq!(percent, "the bound `90` can never hold, because goodput is from 0 to 1: write `0.9` or `90 %`");
        let never =
            ["goodput.fgd > 1", "ettr.fgd >= 101 %", "goodput.fgd < 0", "jct_mean_s.fgd <= -5 s", "slowdown_mean.fgd < 1", "jobs.a < 0"];
        let always = ["goodput.fgd >= 0", "goodput.fgd <= 1", "goodput.fgd < 95", "jct_mean_s.fgd >= 0", "diff(a, b).goodput <= 1"];
        for (what, texts) in [("can never hold", never.as_slice()), ("always holds", always.as_slice())] {
            for text in texts {
                assert!(wrong(text).contains(what), "{text}: {}", wrong(text));
            }
        }
        assert!(wrong("jct_mean_s.fgd > 50 %").contains("write a number, such as `2 h`"));
        assert!(wrong("diff(fgd, fgd).goodput > 0").contains("of one policy with itself, which is always 0: name two policies"));
        for text in [
            "goodput.a > 0",
            "goodput.a <= 0",
            "offered_load.a > 1.2",
            "diff(a, b).jct_mean_s > -1 h",
            "diff(a, b).goodput > -1 %",
            "jobs_open.a <= 0",
        ] {
            assert!(text.parse::<Expect>().is_ok(), "{text}");
        }
    }
}
