//! One queue: what its owner set, what it asks for, and what of it is fair.

use std::collections::HashMap;

use thiserror::Error;

use super::amounts::{Amounts, Bounds, Parts, Resource};
use super::filling::{Claim, dominant};
use super::history::{HistorySettings, Used};

/// What is set for a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueSettings {
    /// The owner's number.
    pub number: u32,
    pub name: String,
    /// The queue that it is part of.
    pub parent: Option<u32>,
    /// What it can always get back, and what its jobs that are not preemptible have to stay within. Of a resource that has none, nothing is
    /// guaranteed, and such jobs may hold any amount.
    pub quota: Bounds,
    /// The most that its jobs may hold at once.
    pub limit: Bounds,
    /// Its part of what is left above the quotas, against that of its siblings.
    pub weight: f64,
    /// What is above the quotas goes to siblings with a higher one first.
    pub over_quota_priority: u8,
}

impl QueueSettings {
    /// A queue at the top with weight 1, and neither quota nor limit.
    pub fn new(number: u32, name: String) -> Self {
        Self { number, name, parent: None, quota: Bounds::default(), limit: Bounds::default(), weight: 1.0, over_quota_priority: 0 }
    }
}

/// Why queues cannot be set like this.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidQueues {
    #[error("queue `{name}` has the number {number} of another queue: give each its own")]
    Twice { name: String, number: u32 },
    #[error("queue `{name}` has an unknown parent, number {parent}: add that queue, or leave the parent out")]
    UnknownParent { name: String, parent: u32 },
    #[error("queue `{name}` is its own ancestor: let the path of parents end at a queue without one")]
    Circle { name: String },
    #[error("queue `{name}` has an invalid weight, {weight}: use 0 or a positive number")]
    Weight { name: String, weight: String },
    #[error("queue `{name}` has a quota of {quota} {resource} above its limit of {limit}: lower the quota or raise the limit")]
    QuotaAboveLimit { name: String, resource: Resource, quota: u64, limit: u64 },
    #[error("the half-life of usage is 0: use at least 1 ms, or leave the history out")]
    NoHalfLife,
    #[error("the strength of the history is invalid, {0}: use 0 or a positive number")]
    Strength(String),
}

/// What is held against a job by the settings of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Whose setting it is: the job's queue, or one above it.
    pub queue: u32,
    pub kind: BoundKind,
    pub resource: Resource,
    /// What counts against it already.
    pub held: u64,
    pub asked: u64,
    pub most: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BoundKind {
    Limit,
    /// For a job that is not preemptible.
    Quota,
}

/// A queue as it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueueShare {
    pub number: u32,
    pub held: Amounts,
    /// What its jobs hold and wait for, up to its limit, in the order of [`Resource::ALL`].
    pub asked: [f64; 3],
    /// What of that is fair.
    pub fair: [f64; 3],
    /// Held of fair, in the resource of which it is most.
    pub level: f64,
    /// What it held in the past, as a decaying average; 0 without a history.
    pub used: [f64; 3],
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    /// From the top down to the queue itself.
    pub(super) path: Vec<usize>,
    /// What jobs that are submitted to this very queue wait for.
    pub(super) waiting: Amounts,
    pub(super) asked: Parts,
    pub(super) fair: Parts,
    pub(super) used: Used,
}

impl Queue {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            parent: None,
            children: Vec::new(),
            path: Vec::new(),
            waiting: Amounts::default(),
            asked: Parts::default(),
            fair: Parts::default(),
            used: Used::default(),
        }
    }

    /// What it asks for within its quota, with a weight by which all queues get the same part of that if there is not enough for all. Of
    /// resources that have no quota as much as goes with the others.
    pub(super) fn within_quota(&self, cluster: &Parts) -> Claim {
        let mut part: f64 = 0.0;
        for (resource, quota) in self.settings.quota.set() {
            let asked = self.asked[resource as usize];
            part = part.max(if asked > 0.0 { (quota as f64 / asked).min(1.0) } else { 0.0 });
        }
        let demand = Resource::ALL.map(|resource| {
            let asked = self.asked[resource as usize];
            self.settings.quota.get(resource).map_or(part * asked, |quota| asked.min(quota as f64))
        });
        Claim { demand, weight: dominant(&demand, cluster).max(f64::MIN_POSITIVE) }
    }

    /// It holds more of a resource than is guaranteed to it; or anything, when nothing is.
    pub(super) fn is_over_quota(&self, held: &Amounts) -> bool {
        let mut quotas = self.settings.quota.set().peekable();
        match quotas.peek() {
            Some(_) => quotas.any(|(resource, quota)| held.get(resource) > quota),
            None => *held != Amounts::default(),
        }
    }

    pub(super) fn share(&self, held: &Amounts, level: f64) -> QueueShare {
        let used = *self.used.average();
        QueueShare { number: self.settings.number, held: *held, asked: self.asked, fair: self.fair, level, used }
    }
}

/// Each queue's position by its number, once all of it makes sense.
pub(super) fn check(settings: &[QueueSettings], history: Option<&HistorySettings>) -> Result<HashMap<u32, usize>, InvalidQueues> {
    if let Some(history) = history {
        if history.half_life_ms == 0 {
            return Err(InvalidQueues::NoHalfLife);
        }
        if !(history.strength.is_finite() && history.strength >= 0.0) {
            return Err(InvalidQueues::Strength(history.strength.to_string()));
        }
    }
    let mut numbers = HashMap::new();
    for (at, queue) in settings.iter().enumerate() {
        let name = || queue.name.clone();
        if numbers.insert(queue.number, at).is_some() {
            return Err(InvalidQueues::Twice { name: name(), number: queue.number });
        }
        if !(queue.weight.is_finite() && queue.weight >= 0.0) {
            return Err(InvalidQueues::Weight { name: name(), weight: queue.weight.to_string() });
        }
        let limited = queue.quota.set().filter_map(|(resource, quota)| Some((resource, quota, queue.limit.get(resource)?)));
        if let Some((resource, quota, limit)) = limited.into_iter().find(|(_, quota, limit)| quota > limit) {
            return Err(InvalidQueues::QuotaAboveLimit { name: name(), resource, quota, limit });
        }
    }
    for queue in settings {
        let mut above = queue.parent;
        for _ in 0..=settings.len() {
            let Some(parent) = above else { break };
            let Some(at) = numbers.get(&parent) else {
                return Err(InvalidQueues::UnknownParent { name: queue.name.clone(), parent });
            };
            above = settings[*at].parent;
        }
        if above.is_some() {
            return Err(InvalidQueues::Circle { name: queue.name.clone() });
        }
    }
    Ok(numbers)
}
