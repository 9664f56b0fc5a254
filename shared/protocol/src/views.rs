//! What the command prints as JSON and the REST API answers, where both say the same thing and no message on NATS has its form: one
//! definition for both. Jobs, nodes, events, cancellations and experiments are shown in the form of their messages.

use serde::Serialize;
use utoipa::ToSchema;

use crate::messages::{FaultOrder, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS, RateSetting};

/// What the generator uses while nobody has set a rate, in jobs a minute.
pub const DEFAULT_RATE_PER_MINUTE: f64 = 2.0;

/// A rate with a name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct RatePreset {
    pub name: &'static str,
    pub jobs_per_minute: f64,
}

/// How many jobs are generated.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RateView {
    pub jobs_per_minute: f64,
    /// The preset that has this rate, if one does.
    pub preset: Option<&'static str>,
    /// Empty while nobody has set it.
    pub set_by: String,
    pub at_ms: u64,
    pub min_per_minute: f64,
    pub max_per_minute: f64,
    pub presets: Vec<RatePreset>,
}

impl RateView {
    pub fn new(setting: Option<&RateSetting>) -> Self {
        let rate = setting.map_or(DEFAULT_RATE_PER_MINUTE, |setting| setting.jobs_per_minute);
        Self {
            jobs_per_minute: rate,
            preset: RATE_PRESETS.iter().find(|(_, preset)| (preset - rate).abs() < 1e-9).map(|(name, _)| *name),
            set_by: setting.map(|setting| setting.set_by.clone()).unwrap_or_default(),
            at_ms: setting.map_or(0, |setting| setting.at_ms),
            min_per_minute: MIN_RATE_PER_MINUTE,
            max_per_minute: MAX_RATE_PER_MINUTE,
            presets: RATE_PRESETS.iter().map(|&(name, jobs_per_minute)| RatePreset { name, jobs_per_minute }).collect(),
        }
    }
}

/// Whether a node is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrainView {
    pub node: String,
    /// Whether nothing new is placed there from now on; what runs goes on to its end.
    pub draining: bool,
    /// Why; present while it is drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A fault that was ordered. Whether and when it takes effect is in the events.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FaultView {
    pub node: String,
    /// The process that got the order.
    pub worker: String,
    /// Such as `crash` or `xid_79`, or `restore`.
    pub kind: String,
    pub for_ms: u64,
    /// For `slow`: how many times slower.
    pub factor: f64,
    /// For faults of one GPU: which one; the one that works most when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u8>,
}

impl FaultView {
    pub fn new(order: &FaultOrder, worker: &str) -> Self {
        Self {
            node: order.node.clone(),
            worker: worker.to_owned(),
            kind: order.kind.to_string(),
            for_ms: order.for_ms,
            factor: order.factor,
            gpu: order.gpu,
        }
    }
}
