//! What the command prints as JSON and the REST API answers, where both say the same thing and no message on NATS has its form: one
//! definition for both. Jobs, nodes, events, cancellations and experiments are shown in the form of their messages.

use std::collections::BTreeMap;

use faultline_engine::fault::FaultTruth;
use faultline_engine::fault::cause::{BrokenAttempt, cause_of};
use faultline_engine::job::{AttemptId, AttemptSummary};
use faultline_engine::workload::LOADS_PERCENT;
use serde::Serialize;
use utoipa::ToSchema;

use crate::messages::{Asked, FaultOrder, InForce, MAX_RATE_PER_MINUTE, MIN_RATE_PER_MINUTE, RATE_PRESETS, RateSetting};

/// A rate with a name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct RatePreset {
    pub name: &'static str,
    pub jobs_per_minute: f64,
}

/// How many jobs are generated.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RateView {
    /// The rate that was set. With a load: what the generator makes of it, and 0 while no generator has said so.
    pub jobs_per_minute: f64,
    /// The load that was set, or holds because nothing is set: the share of the cluster's GPU time, in percent. None with a rate.
    pub load_percent: Option<f64>,
    /// The preset that has this rate, if one does.
    pub preset: Option<&'static str>,
    /// Empty while it is not set.
    pub set_by: String,
    pub at_ms: u64,
    pub min_per_minute: f64,
    pub max_per_minute: f64,
    pub presets: Vec<RatePreset>,
    /// Loads to choose from, in percent.
    pub loads: [f64; 4],
    /// The rate at which the generator submits jobs, by its own word; none when no generator runs.
    pub in_force_per_minute: Option<f64>,
    /// The load that comes to this rate; none when it keeps to a rate.
    pub in_force_load_percent: Option<f64>,
    /// The GPUs of the cluster of which that load is a share; 0 while the scheduler has not told them.
    pub in_force_gpus: Option<u32>,
    /// When it said so last, by its clock; it does every 5 s.
    pub in_force_at_ms: Option<u64>,
    /// What it said, in words.
    pub in_force: Option<String>,
    /// Why that is not the rate that was set.
    pub refused: Option<String>,
}

impl RateView {
    /// `in_force` is the generator's word, if there is one.
    pub fn new(setting: Option<&RateSetting>, in_force: Option<&InForce>) -> Self {
        let asked = setting.map_or_else(Asked::default, |setting| setting.asked);
        let rate = match asked {
            Asked::Rate(per_minute) => per_minute,
            Asked::Load(_) => in_force.filter(|said| said.asked() == asked).map_or(0.0, |said| said.jobs_per_minute),
        };
        let is_named = |(_, preset): &&(&str, f64)| asked.load_percent().is_none() && (preset - rate).abs() < 1e-9;
        Self {
            jobs_per_minute: rate,
            load_percent: asked.load_percent(),
            preset: RATE_PRESETS.iter().find(is_named).map(|(name, _)| *name),
            set_by: setting.map(|setting| setting.set_by.clone()).unwrap_or_default(),
            at_ms: setting.map_or(0, |setting| setting.at_ms),
            min_per_minute: MIN_RATE_PER_MINUTE,
            max_per_minute: MAX_RATE_PER_MINUTE,
            presets: RATE_PRESETS.iter().map(|&(name, jobs_per_minute)| RatePreset { name, jobs_per_minute }).collect(),
            loads: LOADS_PERCENT,
            in_force_per_minute: in_force.map(|said| said.jobs_per_minute),
            in_force_load_percent: in_force.and_then(|said| said.load_percent),
            in_force_gpus: in_force.filter(|said| said.load_percent.is_some()).map(|said| said.gpus),
            in_force_at_ms: in_force.map(|said| said.at_ms),
            in_force: in_force.map(InForce::rate_words),
            refused: in_force.and_then(|said| said.rate_refused.clone()),
        }
    }

    /// What is asked for.
    pub fn asked(&self) -> Asked {
        self.load_percent.map_or(Asked::Rate(self.jobs_per_minute), Asked::Load)
    }

    /// How the setting differs from what is in force, in words; none when it does not.
    pub fn deviation(&self) -> Option<String> {
        let Some(words) = &self.in_force else { return Some("no generator runs: the rate applies as soon as one runs".to_owned()) };
        if let Some(reason) = &self.refused {
            return Some(format!("refused, the generator keeps to {words}: {reason}"));
        }
        let in_force = self.in_force_load_percent.map_or(Asked::Rate(self.in_force_per_minute.unwrap_or_default()), Asked::Load);
        let is_other = !self.set_by.is_empty() && in_force != self.asked();
        is_other.then(|| format!("the generator still keeps to {words}"))
    }
}

/// Which kinds of jobs are generated, by weight.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MixView {
    pub weights: BTreeMap<String, f64>,
    /// The weights that the generator uses, by its own word; none when no generator runs.
    pub in_force: Option<BTreeMap<String, f64>>,
    /// Why those are not the ones that were set.
    pub refused: Option<String>,
}

impl MixView {
    pub fn new(weights: BTreeMap<String, f64>, in_force: Option<&InForce>) -> Self {
        Self { weights, in_force: in_force.map(|said| said.weights.clone()), refused: in_force.and_then(|said| said.mix_refused.clone()) }
    }
}

/// Whether a node is drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DrainView {
    pub node: String,
    /// Whether nothing new is to be placed there; what runs goes on to its end.
    pub draining: bool,
    /// Whether the leading scheduler says so too. If not, the setting is stored, and holds as soon as a scheduler that knows the node leads.
    pub in_force: bool,
    /// Why; present while it is drained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A fault that was ordered.
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
    /// What its worker says that it did; none while it has not said so, and nothing is known of it then.
    pub outcome: Option<String>,
}

impl FaultView {
    pub fn new(order: &FaultOrder, worker: &str, outcome: Option<String>) -> Self {
        Self {
            node: order.node.clone(),
            worker: worker.to_owned(),
            kind: order.kind.to_string(),
            for_ms: order.for_ms,
            factor: order.factor,
            gpu: order.gpu,
            outcome,
        }
    }
}

/// The fault that an attempt broke off by, as it really was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AttemptCause {
    pub attempt: AttemptId,
    /// What was done, to what and by whom, in one line.
    pub headline: String,
    /// Such as `kill` or `xid_79`.
    pub kind: String,
    /// The node or the process that was broken.
    pub target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<u8>,
    /// Which user ordered it and through what; empty when it came by itself.
    pub by: String,
    pub from_ms: u64,
    /// None while it lasts and no end is planned.
    pub until_ms: Option<u64>,
    /// From the beginning of the fault, or from the attempt's placement when that was later, until the attempt was given up.
    pub noticed_after_ms: u64,
}

impl AttemptCause {
    /// None when no fault explains how the attempt ended, or it has not ended. `worker` is the process of its node.
    pub fn of<'f>(row: &AttemptSummary, worker: Option<&str>, faults: impl IntoIterator<Item = &'f FaultTruth>) -> Option<Self> {
        let attempt = BrokenAttempt {
            node: &row.node,
            worker,
            from_ms: row.placed_at_ms,
            ended_ms: row.ended_at_ms?,
            outcome: row.outcome,
            detail: &row.detail,
        };
        cause_of(&attempt, faults).map(|fault| Self {
            attempt: row.attempt,
            headline: fault.headline(),
            kind: fault.kind.clone(),
            target: fault.target.clone(),
            gpu: fault.gpu,
            by: fault.by.clone(),
            from_ms: fault.from_ms,
            until_ms: fault.until_ms,
            noticed_after_ms: attempt.noticed_after_ms(fault),
        })
    }
}
