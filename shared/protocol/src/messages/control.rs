//! Operator to services: KV CONTROL, KV LEASE and `ctl.<worker>.<verb>`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use faultline_engine::fault::FaultOrderKind;
use faultline_engine::fault::{FaultWish, InvalidFault};
use faultline_engine::job::AttemptId;
use faultline_engine::words::{job_rate, plural};
use faultline_engine::workload::{DEFAULT_LOAD_PERCENT, check_load};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ClusterEvent, EventKind};
use crate::codec::message;

/// The lowest job rate that the generator takes, a minute.
pub const MIN_RATE_PER_MINUTE: f64 = 0.1;
/// The highest one without `--unbounded-rate`.
pub const MAX_RATE_PER_MINUTE: f64 = 50.0;
/// Beyond this even an unbounded rate is a slip of the finger: 10 million jobs a second.
pub const ABSURD_RATE_PER_MINUTE: f64 = 6e8;

/// A load makes no more jobs than this a minute without `--unbounded-rate`, however large the cluster: all of it may run on one machine.
pub const MAX_LOAD_RATE_PER_MINUTE: f64 = 3_000.0;

/// Whether the generator takes a rate, started with or without `--unbounded-rate`; else what is wrong with it.
pub fn check_rate(per_minute: f64, unbounded: bool) -> Result<(), String> {
    let (low, high) = if unbounded { (0.0, ABSURD_RATE_PER_MINUTE) } else { (MIN_RATE_PER_MINUTE, MAX_RATE_PER_MINUTE) };
    if (low..=high).contains(&per_minute) { Ok(()) } else { Err(format!("{} is outside {low} to {high}", job_rate(per_minute))) }
}

/// The five presets, in jobs a minute.
pub const RATE_PRESETS: [(&str, f64); 5] =
    [("Light Load", 0.5), ("Normal", 2.0), ("High Load", 10.0), ("Extreme", 25.0), ("MAXIMUM", 50.0)];

/// The rate of a preset; case, spaces, `-` and `_` do not matter.
pub fn preset_rate(name: &str) -> Option<(&'static str, f64)> {
    let fold = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    RATE_PRESETS.into_iter().find(|(preset, _)| fold(preset) == fold(name))
}

/// How much is to be generated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Asked {
    /// So many jobs a minute, whatever the cluster.
    #[serde(rename = "jobs_per_minute")]
    Rate(f64),
    /// So many jobs that they take this share of the cluster's GPU time, in percent.
    #[serde(rename = "load_percent")]
    Load(f64),
}

impl Default for Asked {
    /// What holds while nothing is set.
    fn default() -> Self {
        Asked::Load(DEFAULT_LOAD_PERCENT)
    }
}

impl Asked {
    /// Whether the generator takes it, started with or without `--unbounded-rate`; else what is wrong with it.
    pub fn check(self, unbounded: bool) -> Result<(), String> {
        match self {
            Asked::Rate(per_minute) => check_rate(per_minute, unbounded),
            Asked::Load(percent) => check_load(percent),
        }
    }

    pub fn load_percent(self) -> Option<f64> {
        match self {
            Asked::Rate(_) => None,
            Asked::Load(percent) => Some(percent),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Rate(per_minute) => f.write_str(&job_rate(*per_minute)),
            Asked::Load(percent) => write!(f, "a load of {percent} %"),
        }
    }
}

/// KV CONTROL `rate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateSetting {
    #[serde(flatten)]
    pub asked: Asked,
    pub set_by: String,
    pub at_ms: u64,
}

message!(RateSetting, "rate-setting");

/// KV CONTROL `mix`: relative weights of the generated kinds, `sleep`, `compute`, `matrix`, `fault`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KindMix {
    pub weights: BTreeMap<String, f64>,
}

message!(KindMix, "kind-mix");

/// KV CONTROL `in-force`, written by the generator: what it made of the settings. Written anew at every change and every
/// [`IN_FORCE_EVERY`], so that a generator that is gone does not seem to obey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InForce {
    /// With a load: what it comes to.
    pub jobs_per_minute: f64,
    /// The load in force; none where a rate is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_percent: Option<f64>,
    /// The cluster's GPUs of which the load is a share; 0 while the scheduler has not told them.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub gpus: u32,
    /// The load comes to more than [`MAX_LOAD_RATE_PER_MINUTE`], and the generator was started without `--unbounded-rate`.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub capped: bool,
    /// The revision of `rate` that it has read last; 0 before the first.
    pub rate_revision: u64,
    /// Why that setting is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_refused: Option<String>,
    pub weights: BTreeMap<String, f64>,
    /// The same of `mix`.
    pub mix_revision: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mix_refused: Option<String>,
    pub at_ms: u64,
}

message!(InForce, "settings-in-force");

impl InForce {
    /// What of the rate's setting is in force.
    pub fn asked(&self) -> Asked {
        self.load_percent.map_or(Asked::Rate(self.jobs_per_minute), Asked::Load)
    }

    /// The same, and what a load comes to.
    pub fn rate_words(&self) -> String {
        let Some(percent) = self.load_percent else { return job_rate(self.jobs_per_minute) };
        let load = Asked::Load(percent);
        if self.gpus == 0 {
            return format!("{load}: no jobs until a scheduler leads and a node has registered");
        }
        let rate = job_rate(self.jobs_per_minute);
        let cap = if self.capped { ", the most that a load makes without --unbounded-rate" } else { "" };
        format!("{load}: {rate} on {}{cap}", plural(u64::from(self.gpus), "GPU"))
    }
}

/// How often the generator says what is in force when nothing changes.
pub const IN_FORCE_EVERY: Duration = Duration::from_secs(5);
/// Without a word for so long it is taken to be gone.
pub const IN_FORCE_LIMIT: Duration = Duration::from_secs(15);

/// KV CONTROL `demo`: what `faultline demo` shows now, for the page. The key is there in the demo's own cluster only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DemoScene {
    /// From 1.
    pub number: u32,
    pub of: u32,
    pub title: String,
    pub text: String,
    /// When the demo began: incidents since then are its own.
    pub since_ms: u64,
    /// The viewer is asked to break something.
    pub your_turn: bool,
}

message!(DemoScene, "demo-scene");

/// KV CONTROL `drain.<node>`: nothing new is placed there while the key exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainSetting {
    pub reason: String,
    pub at_ms: u64,
    /// Who drains it and through what.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

message!(DrainSetting, "drain-setting");

/// KV LEASE `scheduler`: who leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub holder: String,
    pub at_ms: u64,
    /// An epoch that workers had heard of: the holder's is higher, whatever the key's revision. 0 when the revision is high enough.
    #[serde(default, skip_serializing_if = "faultline_engine::unset::is_default")]
    pub floor: u64,
}

message!(LeaseRecord, "lease-record");

/// `ctl.<worker>.ping`, a request; answered with [`Pong`] while the process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    pub at_ms: u64,
}

message!(Ping, "ping");

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    pub worker: String,
    /// Its nodes that are up. One that is missing here is down, although its worker lives.
    pub nodes: Vec<String>,
}

message!(Pong, "pong");

/// `ctl.all.sync`: a new leader asks what runs and raises the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncOrder {
    pub epoch: u64,
}

message!(SyncOrder, "sync-order");

/// `ctl.<worker>.kill`: stop these attempts without committing, acknowledging or repeating them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KillAttempts {
    pub epoch: u64,
    pub attempts: Vec<AttemptId>,
    pub reason: String,
}

message!(KillAttempts, "kill-attempts");

/// `ctl.<worker>.fault`: break a simulated node on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultOrder {
    pub node: String,
    pub kind: FaultOrderKind,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// For `slow`: how many times slower, 2 to 10.
    #[serde(default)]
    pub factor: f64,
    /// For faults of one GPU, and `restore`: which one. Without it the worker takes the one that works most; `restore` ends everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u8>,
    /// Who orders it and through what, for the history.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

impl FaultOrder {
    /// Whether this event tells that the order was obeyed: it has no answer of its own.
    pub fn is_answered_by(&self, event: &ClusterEvent) -> bool {
        match self.kind {
            FaultOrderKind::Restore => event.kind == EventKind::FaultEnded,
            FaultOrderKind::Break(kind) => {
                event.kind == EventKind::FaultBegan
                    && event.fault.as_ref().is_some_and(|truth| truth.kind == kind.as_str() && truth.by == self.by)
            }
        }
    }

    /// The order for what was asked, if that makes sense; `by` says who asks and through what.
    pub fn checked(node: &str, wish: &FaultWish, by: &str) -> Result<Self, InvalidFault> {
        let terms = wish.check()?;
        let (for_ms, factor) = (terms.for_ms, terms.factor);
        Ok(Self { node: node.to_owned(), kind: wish.kind, for_ms, factor, gpu: wish.gpu, by: by.to_owned() })
    }
}

message!(FaultOrder, "fault-order");

#[cfg(test)]
mod tests {
    use faultline_engine::fault::FaultKind;

    use super::*;
    use crate::codec;

    #[test]
    fn a_rate_travels_as_it_did_before_there_were_loads() {
        let setting = |asked| RateSetting { asked, set_by: "cli".into(), at_ms: 7 };
        for (asked, json) in [
            (Asked::Rate(2.5), r#"{"jobs_per_minute":2.5,"set_by":"cli","at_ms":7}"#),
            (Asked::Load(60.0), r#"{"load_percent":60.0,"set_by":"cli","at_ms":7}"#),
        ] {
            assert_eq!(serde_json::to_string(&setting(asked)).unwrap(), json);
            assert_eq!(codec::decode_body::<RateSetting>(&codec::encode(&setting(asked))).unwrap(), setting(asked));
        }
        assert!(Asked::Rate(51.0).check(false).is_err() && Asked::Rate(51.0).check(true).is_ok());
        assert!(Asked::Load(0.0).check(true).is_err() && Asked::default().check(false).is_ok());
    }

    #[test]
    fn a_load_says_what_it_comes_to() {
        let said = |load_percent, gpus, capped| InForce {
            jobs_per_minute: 180.0,
            load_percent,
            gpus,
            capped,
            rate_revision: 1,
            rate_refused: None,
            weights: BTreeMap::new(),
            mix_revision: 0,
            mix_refused: None,
            at_ms: 1,
        };
        assert_eq!(said(None, 0, false).rate_words(), "180 jobs a minute");
        assert_eq!(said(Some(60.0), 46, false).rate_words(), "a load of 60 %: 180 jobs a minute on 46 GPUs");
        assert!(said(Some(60.0), 46, true).rate_words().ends_with("on 46 GPUs, the most that a load makes without --unbounded-rate"));
        assert!(said(Some(60.0), 0, false).rate_words().starts_with("a load of 60 %: no jobs until"));
    }

    #[test]
    fn an_order_is_one_word_on_the_wire_and_an_unknown_one_is_an_error() {
        for kind in FaultKind::ALL.map(FaultOrderKind::Break).into_iter().chain([FaultOrderKind::Restore]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let order = FaultOrder { node: "n".into(), kind, for_ms: 1, factor: 0.0, gpu: Some(3), by: "test".into() };
            assert_eq!(codec::decode_body::<FaultOrder>(&codec::encode(&order)).unwrap(), order);
        }
        assert!("flood".parse::<FaultOrderKind>().is_err());
    }
}
