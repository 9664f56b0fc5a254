//! Operator to services: KV CONTROL, KV LEASE and `ctl.<worker>.<verb>`.

use std::collections::BTreeMap;

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

/// Faults that can be ordered; the same that nodes get by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultOrderKind {
    Crash,
    Hang,
    HeartbeatLoss,
    Slow,
    /// End whatever fault the node has.
    Restore,
}

/// `ctl.<worker>.fault`: break a simulated node on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultOrder {
    pub node: String,
    pub kind: FaultOrderKind,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// For `Slow`: how many times slower, 2 to 10.
    #[serde(default)]
    pub factor: f64,
}

impl Message for FaultOrder {
    const KIND: &'static str = "fault-order";
}
