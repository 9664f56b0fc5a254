//! Operator to services: KV CONTROL, KV LEASE and `ctl.<worker>.<verb>`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use faultline_engine::fault::{FaultKind, UnknownFault};
use faultline_engine::job::AttemptId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::Message;

/// The lowest job rate that the generator takes, a minute.
pub const MIN_RATE_PER_MINUTE: f64 = 0.1;
/// The highest one without `--unbounded-rate`.
pub const MAX_RATE_PER_MINUTE: f64 = 50.0;
/// The five presets, in jobs a minute.
pub const RATE_PRESETS: [(&str, f64); 5] =
    [("Light Load", 0.5), ("Normal", 2.0), ("High Load", 10.0), ("Extreme", 25.0), ("MAXIMUM", 50.0)];

/// The rate of a preset; case, spaces, `-` and `_` do not matter.
pub fn preset_rate(name: &str) -> Option<(&'static str, f64)> {
    let fold = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    RATE_PRESETS.into_iter().find(|(preset, _)| fold(preset) == fold(name))
}

/// KV CONTROL `rate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RateSetting {
    pub jobs_per_minute: f64,
    pub set_by: String,
    pub at_ms: u64,
}

impl Message for RateSetting {
    const KIND: &'static str = "rate-setting";
}

/// KV CONTROL `mix`: relative weights of the generated kinds, `sleep`, `compute`, `matrix`, `fault`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KindMix {
    pub weights: BTreeMap<String, f64>,
}

impl Message for KindMix {
    const KIND: &'static str = "kind-mix";
}

/// KV CONTROL `drain.<node>`: nothing new is placed there while the key exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DrainSetting {
    pub reason: String,
    pub at_ms: u64,
}

impl Message for DrainSetting {
    const KIND: &'static str = "drain-setting";
}

/// KV LEASE `scheduler`: who leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaseRecord {
    pub holder: String,
    pub at_ms: u64,
}

impl Message for LeaseRecord {
    const KIND: &'static str = "lease-record";
}

/// `ctl.<worker>.ping`, a request; answered with [`Pong`] while the process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    pub at_ms: u64,
}

impl Message for Ping {
    const KIND: &'static str = "ping";
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pong {
    pub worker: String,
    /// Its nodes that are up. One that is missing here is down, although its worker lives.
    pub nodes: Vec<String>,
}

impl Message for Pong {
    const KIND: &'static str = "pong";
}

/// `ctl.all.sync`: a new leader asks what runs and raises the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncOrder {
    pub epoch: u64,
}

impl Message for SyncOrder {
    const KIND: &'static str = "sync-order";
}

/// `ctl.<worker>.kill`: stop these attempts without committing, acknowledging or repeating them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KillAttempts {
    pub epoch: u64,
    pub attempts: Vec<AttemptId>,
    pub reason: String,
}

impl Message for KillAttempts {
    const KIND: &'static str = "kill-attempts";
}

/// What an order does: break something, or end what is broken. On the wire it is one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FaultOrderKind {
    Break(FaultKind),
    /// End whatever faults the node, or the named GPU, has.
    Restore,
}

const RESTORE: &str = "restore";

impl From<FaultOrderKind> for String {
    fn from(kind: FaultOrderKind) -> String {
        kind.to_string()
    }
}

impl TryFrom<String> for FaultOrderKind {
    type Error = UnknownFault;

    fn try_from(text: String) -> Result<Self, UnknownFault> {
        text.parse()
    }
}

impl fmt::Display for FaultOrderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            FaultOrderKind::Break(kind) => kind.as_str(),
            FaultOrderKind::Restore => RESTORE,
        })
    }
}

impl FromStr for FaultOrderKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        if text == RESTORE { Ok(Self::Restore) } else { text.parse().map(Self::Break) }
    }
}

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
}

impl Message for FaultOrder {
    const KIND: &'static str = "fault-order";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn an_order_is_one_word_on_the_wire_and_an_unknown_one_is_an_error() {
        for kind in FaultKind::ALL.map(FaultOrderKind::Break).into_iter().chain([FaultOrderKind::Restore]) {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let order = FaultOrder { node: "n".into(), kind, for_ms: 1, factor: 0.0, gpu: Some(3) };
            assert_eq!(codec::decode_body::<FaultOrder>(&codec::encode(&order)).unwrap(), order);
        }
        assert!("flood".parse::<FaultOrderKind>().is_err());
    }
}
