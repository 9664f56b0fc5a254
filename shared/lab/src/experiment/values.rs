//! Values of fields: durations, names, seeds.

use std::fmt;
use std::str::FromStr;

use faultline_engine::fault::FaultPreset;
use faultline_engine::words::{count, limit};
use faultline_planner::{Blocking, OrderName, PolicyName, TieRule};
use jiff::{SpanRelativeTo, Unit};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::external::{Command, InvalidProgram, PREFIX};
use crate::faults::Detector;
use crate::read::Format;
use crate::workload::Interval;

/// Runs of one policy.
const MAX_SEEDS: u64 = 10_000;
const LONGEST_DAYS: f64 = 36_500.0;

/// A duration, written as `30 s`, `10 min`, `1h 30m`, or `7 d`. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub ms: u64,
}

impl Span {
    pub const fn minutes(minutes: u64) -> Self {
        Self { ms: minutes * 60_000 }
    }

    pub const fn seconds(seconds: u64) -> Self {
        Self { ms: seconds * 1_000 }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse::<jiff::Span>().ok().filter(|span| span.get_years() == 0 && span.get_months() == 0);
        let ms = span.and_then(|span| span.total((Unit::Millisecond, SpanRelativeTo::days_are_24_hours())).ok());
        let known = ms.filter(|ms| (0.0..=LONGEST_DAYS * 86_400_000.0).contains(ms));
        known.map(|ms| Self { ms: ms.round() as u64 }).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("invalid duration `{text}`: write a number and a unit, such as `30 s`, `10 min`, `2 h`, or `7 d`, up to 100 years")
        })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What cannot be read back is not written: `limit` cuts what is smaller than its last place.
        let shown = limit(self.ms);
        let is_whole = shown.parse::<Span>().is_ok_and(|read| read.ms == self.ms);
        if is_whole { f.pad(&shown) } else { write!(f, "{} ms", self.ms) }
    }
}

/// Something that is written as one word or phrase.
macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_text!(Span, CheckpointEvery, DetectorName, Placement, Seeds);

/// A name of a set that another crate defines, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<T> {
    pub value: T,
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(|value| Word { value }).map_err(de::Error::custom)
    }
}

/// A name as it is written.
pub trait Written {
    fn word(&self) -> &'static str;
}

macro_rules! written {
    ($($type:ty),*) => {$(
        impl Written for $type {
            fn word(&self) -> &'static str {
                self.as_str()
            }
        }
    )*};
}

written!(Blocking, FaultPreset, Format, OrderName, TieRule);

impl<T: Written> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.value.word())
    }
}

/// What chooses nodes: a policy by its name, or a program as `exec:python3 my_policy.py`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    Policy(PolicyName),
    Program(Command),
}

impl Placement {
    /// A program is asked in the place of the default policy.
    pub fn policy(&self) -> PolicyName {
        match self {
            Placement::Policy(policy) => *policy,
            Placement::Program(_) => PolicyName::default(),
        }
    }

    pub fn program(&self) -> Option<&Command> {
        match self {
            Placement::Policy(_) => None,
            Placement::Program(command) => Some(command),
        }
    }
}

impl FromStr for Placement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(PREFIX) {
            return text.parse().map(Placement::Program).map_err(|error: InvalidProgram| error.to_string());
        }
        let policy: Result<PolicyName, _> = text.parse();
        policy.map(Placement::Policy).map_err(|error| format!("{error}, or a program as `exec:COMMAND`"))
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Policy(policy) => f.pad(policy.as_str()),
            Placement::Program(command) => write!(f, "{command}"),
        }
    }
}

/// `off`, `optimal`, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointEvery {
    pub interval: Option<Interval>,
}

impl FromStr for CheckpointEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let interval = match text {
            "off" => None,
            "optimal" => Some(Interval::Optimal),
            _ => {
                let Span { ms } = text.parse().map_err(|error| format!("{error}; or `optimal`, or `off`"))?;
                if ms == 0 {
                    return Err("no checkpoint can follow another at once: write `off`, `optimal`, or a longer duration".to_owned());
                }
                Some(Interval::Every(ms))
            }
        };
        Ok(Self { interval })
    }
}

impl fmt::Display for CheckpointEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interval {
            None => f.pad("off"),
            Some(Interval::Optimal) => f.pad("optimal"),
            Some(Interval::Every(ms)) => Span { ms }.fmt(f),
        }
    }
}

/// The name of a detector, or a duration after which each fault is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DetectorName {
    pub detector: Detector,
}

impl FromStr for DetectorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(Span { ms }) = text.parse() {
            return Ok(Self { detector: Detector::After(ms) });
        }
        text.parse().map(|detector| Self { detector }).map_err(|error: String| format!("{error}, or a duration such as `30 s`"))
    }
}

impl fmt::Display for DetectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detector {
            Detector::After(ms) => Span { ms }.fmt(f),
            named => named.fmt(f),
        }
    }
}

/// `7`, or `1..10` with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    pub first: u64,
    pub last: u64,
}

impl Seeds {
    pub fn all(self) -> impl Iterator<Item = u64> {
        self.first..=self.last
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seed = |text: &str| {
            text.trim().parse::<u64>().map_err(|_| format!("invalid seed `{text}`: write a whole number from 0, or two as in `1..10`"))
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let seeds = Seeds { first: seed(first)?, last: seed(last)? };
        match seeds.last.checked_sub(seeds.first) {
            None => Err(format!("the last seed is smaller than the first: write `{}..{}`", seeds.last, seeds.first)),
            Some(more) if more >= MAX_SEEDS => Err(format!("more than {} seeds: use fewer", count(MAX_SEEDS))),
            Some(_) => Ok(seeds),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}..{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<u64> {
        text.parse().ok().map(|Span { ms }| ms)
    }

    #[test]
    fn durations_are_written_as_people_do() {
        assert_eq!(
            ["30 s", "10min", "1h 30m", "7 d", "500 ms", "1.5 h"].map(ms),
            [30_000, 600_000, 5_400_000, 604_800_000, 500, 5_400_000].map(Some)
        );
        assert_eq!(["", "5", "5 parsecs", "-3 s", "1 month", "2 years", "1000000 d"].map(ms), [None; 7]);
        for span in ["30 s", "1 h 30 min", "7 d", "1234 ms", "54 d", "0 ms"] {
            let read: Span = span.parse().unwrap();
            assert_eq!(read.to_string().parse::<Span>(), Ok(read), "{span}");
        }
    }

    #[test]
    fn words_and_durations_share_a_field() {
        let every = |text: &str| text.parse::<CheckpointEvery>();
        assert_eq!(every("off").unwrap().interval, None);
        assert_eq!(every("30 min").unwrap().interval, Some(Interval::Every(1_800_000)));
        assert!(every("never").unwrap_err().contains("or `optimal`, or `off`") && every("0 s").is_err());
        assert_eq!("30 s".parse::<DetectorName>().unwrap().detector, Detector::After(30_000));
        let error = "psychic".parse::<DetectorName>().unwrap_err();
        assert!(error.contains("phi-accrual") && error.contains("or a duration"), "{error}");
    }

    #[test]
    fn seeds_are_one_or_a_range_with_both_ends() {
        assert_eq!(("7".parse(), "42..51".parse()), (Ok(Seeds { first: 7, last: 7 }), Ok(Seeds { first: 42, last: 51 })));
        let wrong = |text: &str| text.parse::<Seeds>().unwrap_err();
        assert!(wrong("9..1").contains("`1..9`") && wrong("0..10000").contains("10,000") && wrong("a").contains("whole number"));
    }
}
