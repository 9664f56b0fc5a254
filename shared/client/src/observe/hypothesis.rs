//! What an experiment or a scenario claims: clauses such as `lost=0, recovery_p99<5s, goodput>0.8`, all of which must hold.
//!
//! A clause is a metric, one of `=`, `<`, `<=`, `>`, `>=`, and a value. Clauses are joined by commas. Durations need a unit
//! (`ms`, `s` or `m`), shares may be written as `0.8` or `80%`, rates are a second. `=` is for counts alone: no measured
//! duration or share is ever exact.
//!
//! Counts are always known, and no event at all is the count 0. Durations, shares and rates need samples: a clause on a metric
//! that has none does not hold, whichever way it points, because nothing was shown. The same is true of `lost` when JOBS could
//! not be looked at.

use std::fmt::Write;

use faultline_protocol::messages::{ClauseResult, Measurements, Spread};

/// How a metric's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A whole number.
    Count,
    /// Milliseconds inside, `ms`, `s` or `m` outside.
    Duration,
    /// 0 to 1, or percent.
    Share,
    /// Each second.
    Rate,
    GpuSeconds,
}

/// What was measured of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Number(f64),
    /// One of several percentiles, with the number of samples.
    OfSamples(f64, u64),
    Missing(&'static str),
}

/// Something that can be claimed about.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub does: &'static str,
    read: fn(&Measurements) -> Value,
}

const NO_FAULT_NOTICED: &str = "no samples: no fault of a node was noticed";
const NOTHING_LOST: &str = "no samples: no attempt was interrupted by an injected fault";
const NOBODY_FOLLOWED: &str = "no samples: the leading scheduler had no fault, or no scheduler led after it";
const NOTHING_COMMITTED: &str = "no samples: no job committed";

fn percentile(spread: Option<Spread>, pick: fn(&Spread) -> u64, missing: &'static str) -> Value {
    spread.map_or(Value::Missing(missing), |spread| Value::OfSamples(pick(&spread) as f64, spread.count))
}

macro_rules! count {
    ($name:literal, $field:ident, $does:literal) => {
        Metric { name: $name, unit: Unit::Count, does: $does, read: |m| Value::Number(m.$field as f64) }
    };
}

macro_rules! percentile {
    ($name:literal, $part:literal, $field:ident, $of:ident, $missing:expr, $does:literal) => {
        Metric {
            name: concat!($name, "_", $part),
            unit: Unit::Duration,
            does: $does,
            read: |m| percentile(m.$field, |spread| spread.$of, $missing),
        }
    };
}

macro_rules! percentiles {
    ($name:literal, $field:ident, $missing:expr, $does:literal) => {
        [
            percentile!($name, "p50", $field, p50_ms, $missing, $does),
            percentile!($name, "p95", $field, p95_ms, $missing, $does),
            percentile!($name, "p99", $field, p99_ms, $missing, $does),
            percentile!($name, "max", $field, max_ms, $missing, $does),
        ]
    };
}

const COUNTS: [Metric; 15] = [
    count!("submitted", submitted, "jobs submitted"),
    count!("committed", committed, "jobs that committed"),
    count!("dead", dead, "jobs given up"),
    count!("cancelled", cancelled, "jobs cancelled"),
    count!("abandoned", abandoned, "jobs whose submitter died half way"),
    count!("open", open, "jobs that are open at the end"),
    Metric {
        name: "lost",
        unit: Unit::Count,
        does: "open jobs that are nowhere",
        read: |m| m.lost.map_or(Value::Missing("the queue could not be looked at"), |lost| Value::Number(lost as f64)),
    },
    count!("duplicates", duplicates, "jobs that ended twice"),
    count!("dead_letters", dead_letters, "messages and jobs in DEAD"),
    count!("attempts_lost", attempts_lost, "attempts whose node or worker was gone"),
    count!("attempts_failed", attempts_failed, "attempts that failed by themselves"),
    count!("unrecovered", unrecovered, "interrupted attempts that were never repeated"),
    count!("faults", faults, "faults injected"),
    count!("faults_unnoticed", faults_unnoticed, "faults of whole nodes that no verdict followed"),
    count!("false_verdicts", false_verdicts, "verdicts on nodes without a fault"),
];

const DURATIONS: [[Metric; 4]; 5] = [
    percentiles!("detection", detection, NO_FAULT_NOTICED, "from a fault to the first verdict on its node"),
    percentiles!("recovery", recovery, NOTHING_LOST, "from a fault to the next placement of what it hit"),
    percentiles!("recommit", recommit, NOTHING_LOST, "from a fault to the commit of what it hit"),
    percentiles!("failover", failover, NOBODY_FOLLOWED, "from a fault of the leader to the next leader"),
    percentiles!("latency", latency, NOTHING_COMMITTED, "from submission to commit"),
];

const OTHERS: [Metric; 5] = [
    Metric {
        name: "stall",
        unit: Unit::Duration,
        does: "the longest time without a commit, from the fault to the last one",
        read: |m| m.stall_ms.map_or(Value::Missing(NOTHING_COMMITTED), |ms| Value::Number(ms as f64)),
    },
    Metric {
        name: "goodput",
        unit: Unit::Share,
        does: "GPU time of attempts that committed, of all GPU time used",
        read: |m| m.goodput.map_or(Value::Missing("no samples: no attempt with a GPU ended"), Value::Number),
    },
    Metric {
        name: "throughput",
        unit: Unit::Rate,
        does: "commits a second",
        read: |m| if m.committed == 0 { Value::Missing(NOTHING_COMMITTED) } else { Value::Number(m.throughput_per_s) },
    },
    Metric { name: "used_gpu_s", unit: Unit::GpuSeconds, does: "GPU-seconds of all attempts", read: |m| Value::Number(m.gpu_s_used) },
    Metric {
        name: "wasted_gpu_s",
        unit: Unit::GpuSeconds,
        does: "GPU-seconds of attempts that did not commit",
        read: |m| Value::Number(m.gpu_s_used - m.gpu_s_committed),
    },
];

/// Everything that can be claimed about.
pub fn metrics() -> impl Iterator<Item = &'static Metric> {
    COUNTS.iter().chain(DURATIONS.iter().flatten()).chain(&OTHERS)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Comparison {
    /// Longer signs first, so that `<=` is not read as `<`.
    const SIGNS: [(&'static str, Comparison); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Below), (">", Self::Above), ("=", Self::Equal)];

    fn holds(self, measured: f64, claimed: f64) -> bool {
        match self {
            Comparison::Equal => measured == claimed,
            Comparison::Below => measured < claimed,
            Comparison::AtMost => measured <= claimed,
            Comparison::Above => measured > claimed,
            Comparison::AtLeast => measured >= claimed,
        }
    }
}

/// One claim.
#[derive(Debug, Clone)]
pub struct Clause {
    text: String,
    metric: &'static Metric,
    comparison: Comparison,
    value: f64,
}

/// Why a hypothesis cannot be read: the clause and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{clause}`: {problem}")]
pub struct ParseError {
    pub clause: String,
    pub problem: String,
}

/// All claims of one run.
#[derive(Debug, Clone, Default)]
pub struct Hypothesis {
    clauses: Vec<Clause>,
}

impl Hypothesis {
    /// Reads clauses joined by commas; an empty text claims nothing.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let clauses: Vec<Clause> =
            text.split(',').map(str::trim).filter(|clause| !clause.is_empty()).map(parse_clause).collect::<Result<_, _>>()?;
        if clauses.is_empty() && !text.trim().is_empty() {
            parse_clause(text)?;
        }
        Ok(Self { clauses })
    }

    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// What became of each clause, in the order in which they were written.
    pub fn judge(&self, measured: &Measurements) -> Vec<ClauseResult> {
        self.clauses.iter().map(|clause| clause.judge(measured)).collect()
    }
}

impl Clause {
    fn judge(&self, measurements: &Measurements) -> ClauseResult {
        let (passed, measured) = match (self.metric.read)(measurements) {
            Value::Number(number) => (self.comparison.holds(number, self.value), written(self.metric.unit, number)),
            Value::OfSamples(number, samples) => {
                let words = written(self.metric.unit, number);
                let plural = if samples == 1 { "" } else { "s" };
                (self.comparison.holds(number, self.value), format!("{words} ({samples} sample{plural})"))
            }
            Value::Missing(why) => (false, why.to_owned()),
        };
        ClauseResult { clause: self.text.clone(), passed, measured }
    }
}

fn parse_clause(text: &str) -> Result<Clause, ParseError> {
    let refuse = |problem: String| ParseError { clause: text.chars().take(80).collect(), problem };
    let Some(at) = text.find(['<', '>', '=']) else {
        return Err(refuse("a clause is a metric, one of = < <= > >=, and a value, such as lost=0 or recovery_p99<5s".into()));
    };
    let (name, rest) = (text[..at].trim(), &text[at..]);
    let Some((sign, comparison)) = Comparison::SIGNS.into_iter().find(|(sign, _)| rest.starts_with(sign)) else {
        return Err(refuse("use one of = < <= > >=".into()));
    };
    let Some(metric) = metrics().find(|metric| metric.name == name) else {
        return Err(refuse(format!("unknown metric `{}`: use one of {}", name.chars().take(40).collect::<String>(), known_metrics())));
    };
    if comparison == Comparison::Equal && metric.unit != Unit::Count {
        return Err(refuse(format!("`{name}` is measured, never exact: use < <= > >=")));
    }
    let value = parse_value(metric.unit, rest[sign.len()..].trim()).map_err(|problem| refuse(format!("{problem} for `{name}`")))?;
    Ok(Clause { text: text.to_owned(), metric, comparison, value })
}

/// All names, shortened: `detection_p50|p95|p99|max`.
fn known_metrics() -> String {
    let mut text = String::new();
    for metric in metrics() {
        match metric.name.split_once("_p").or_else(|| metric.name.split_once("_max")) {
            Some((base, "50")) => drop(write!(text, "{base}_p50|p95|p99|max, ")),
            Some((_, "95" | "99" | "")) => {}
            _ => drop(write!(text, "{}, ", metric.name)),
        }
    }
    text.trim_end_matches(", ").to_owned()
}

fn parse_value(unit: Unit, text: &str) -> Result<f64, String> {
    let number = |digits: &str| {
        // `parse` would also take `inf`, `nan` and `1e9`.
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits.parse::<f64>().ok().filter(|_| plain)
    };
    let bad = |wanted: &str| format!("invalid value `{}`: expected a {wanted}", text.chars().take(40).collect::<String>());
    match unit {
        Unit::Count => text.parse::<u32>().map(f64::from).map_err(|_| bad("whole number")),
        Unit::Duration => {
            let (digits, factor) = [("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0)]
                .into_iter()
                .find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, factor)))
                .ok_or_else(|| bad("duration, such as 5s (units: ms, s, m)"))?;
            number(digits.trim()).map(|value| value * factor).ok_or_else(|| bad("duration, such as 5s (units: ms, s, m)"))
        }
        Unit::Share => {
            let share = match text.strip_suffix('%') {
                Some(digits) => number(digits.trim()).map(|value| value / 100.0),
                None => number(text),
            };
            share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| bad("share from 0 to 1, or from 0% to 100%"))
        }
        Unit::Rate => number(text.strip_suffix("/s").unwrap_or(text).trim()).ok_or_else(|| bad("rate per second, such as 20/s")),
        Unit::GpuSeconds => number(text).ok_or_else(|| bad("number of GPU-seconds")),
    }
}

fn written(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Duration if value < 1_000.0 => format!("{value:.0} ms"),
        Unit::Duration => format!("{:.2} s", value / 1_000.0),
        Unit::Share => format!("{:.1} %", value * 100.0),
        Unit::Rate => format!("{value:.2}/s"),
        Unit::GpuSeconds => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measurements {
        Measurements {
            submitted: 10,
            committed: 9,
            lost: Some(1),
            detection: Some(Spread { count: 4, p50_ms: 120, p95_ms: 130, p99_ms: 130, max_ms: 1_300 }),
            goodput: Some(0.8),
            gpu_s_used: 10.0,
            gpu_s_committed: 8.0,
            throughput_per_s: 3.0,
            ..Measurements::default()
        }
    }

    fn judge(text: &str) -> Vec<(bool, String)> {
        let results = Hypothesis::parse(text).unwrap().judge(&measured());
        results.into_iter().map(|result| (result.passed, result.measured)).collect()
    }

    fn refused(text: &str) -> String {
        Hypothesis::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn each_clause_is_judged_by_itself_with_the_measured_value() {
        assert_eq!(
            judge("lost=0, committed>=9,detection_p50<3s, detection_max<1.2s,goodput > 80%,wasted_gpu_s<=2,throughput>2.5/s,"),
            [
                (false, "1".to_owned()),
                (true, "9".to_owned()),
                (true, "120 ms (4 samples)".to_owned()),
                (false, "1.30 s (4 samples)".to_owned()),
                (false, "80.0 %".to_owned()),
                (true, "2.0".to_owned()),
                (true, "3.00/s".to_owned()),
            ]
        );
        assert!(Hypothesis::parse("").unwrap().is_empty());
    }

    #[test]
    fn what_was_never_measured_holds_in_no_direction() {
        for text in ["recovery_p99<5s", "recovery_p99>0s", "failover_max<1m"] {
            let (passed, measured) = judge(text).remove(0);
            assert!(!passed && measured.starts_with("no samples"), "{text}: {measured}");
        }
        let blind = Measurements { lost: None, ..measured() };
        let result = Hypothesis::parse("lost=0").unwrap().judge(&blind).remove(0);
        assert!(!result.passed && result.measured.contains("queue"), "{}", result.measured);
        // No event is a count like any other.
        assert_eq!(judge("dead=0"), [(true, "0".to_owned())]);
    }

    #[test]
    fn a_bad_clause_says_what_to_write() {
        let unknown = refused("lots=0");
        assert!(unknown.contains("`lots`") && unknown.contains("detection_p50|p95|p99|max") && unknown.contains("lost"), "{unknown}");
        assert!(refused("lost").contains("such as lost=0"));
        assert!(refused("recovery_p99<5").contains("ms, s, m"));
        assert!(refused("recovery_p99=5s").contains("never exact"));
        assert!(refused("goodput>1.5").contains("0 to 1"));
        assert!(refused("lost=-1").contains("whole number"));
        assert!(refused("lost=1.5").contains("whole number"));
        assert!(refused("stall<infs").contains("duration"));
        assert!(refused("throughput>fast").contains("per second"));
        assert!(refused("lost==0").contains("whole number"));
        assert_eq!(Hypothesis::parse("ok=1,lost=0").unwrap_err().clause, "ok=1");
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_is_listed() {
        let names: Vec<&str> = metrics().map(|metric| metric.name).collect();
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
        let listed = known_metrics();
        for base in ["lost", "recovery_p50|p95|p99|max", "stall", "wasted_gpu_s", "failover_p50"] {
            assert!(listed.contains(base), "{listed}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            if let Ok(hypothesis) = Hypothesis::parse(&text) {
                hypothesis.judge(&measured());
            }
        }

        #[test]
        fn a_count_clause_says_what_arithmetic_says(claimed in 0_u32..20) {
            let holds = |sign: &str| judge(&format!("committed{sign}{claimed}")).remove(0).0;
            proptest::prop_assert_eq!(holds("<"), 9 < claimed);
            proptest::prop_assert_eq!(holds(">="), 9 >= claimed);
            proptest::prop_assert_eq!(holds("="), 9 == claimed);
        }
    }
}
