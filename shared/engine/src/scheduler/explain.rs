//! Answers about the order and the nodes as they are: where a job stands in line, and what would become of jobs that came now. They change
//! nothing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::planning::{task_class_of, turn};
use super::why::{PlaceInLine, Reject, rejects, summarise};
use super::{HeldState, Scheduler};
use crate::job::{Choice, Demand, InvalidJob, JobId, is_token};
use crate::words::{agree, limit, plural, span};

/// About how many jobs can be asked at once.
pub const MAX_WOULD_FIT: u32 = 1_000;

/// Where a job would run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spot {
    pub node: String,
    /// Indexes of the GPUs on the node.
    pub gpus: Vec<u8>,
}

/// What would become of equal jobs that were submitted now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WouldFit {
    /// How many were asked about.
    pub count: u32,
    /// How many of them would start now.
    pub starts: u32,
    /// Where those would run that there is room for, in the order in which they would be placed; not all of them when the answer would be too long.
    pub spots: Vec<Spot>,
    /// Why the first of them would go where it would; none when it does not fit.
    #[serde(default)]
    pub choice: Option<Choice>,
    /// Why each node refuses the next one; empty when there is room for all.
    pub rejects: Vec<Reject>,
    /// How many nodes could run one if they were open and empty, of how many.
    pub able: u32,
    pub nodes: u32,
    /// Jobs that wait and have yet to be tried: they go first.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub untried: u64,
    /// For people.
    pub summary: String,
}

/// Whether this can be asked.
///
/// # Errors
/// Names the field that cannot be meant.
pub fn check_would_fit(demand: &Demand, kind: &str, count: u32) -> Result<(), InvalidJob> {
    demand.validate()?;
    if !kind.is_empty() && !kind.split(':').all(is_token) {
        return Err(InvalidJob::new("kind", "use letters, digits, `-` and `_`, such as sleep or service:NAME"));
    }
    if !(1..=MAX_WOULD_FIT).contains(&count) {
        return Err(InvalidJob::new("count", format!("{count} is outside 1 to {MAX_WOULD_FIT}")));
    }
    Ok(())
}

impl Scheduler {
    /// Where a job stands that waits for room; `None` of any other.
    pub(super) fn place_in_line(&self, job: JobId) -> Option<PlaceInLine> {
        let held = self.jobs.get(&job)?;
        let HeldState::Waiting { class, placed_before, .. } = held.state else { return None };
        let standing = self.planner.standing(class, turn(&held.spec, held.stored_at_ms, self.config.aging_ms));
        let able = self.planner.able(class);
        let is_impossible = able == 0 && !self.nodes.is_empty();
        Some(PlaceInLine {
            waiting: standing.waiting as u64,
            ahead: standing.ahead as u64,
            ahead_alike: standing.ahead_in_class as u64,
            stands_aside: self.planner.stands_aside(class),
            placed_meanwhile: self.counters.placed.saturating_sub(placed_before),
            able,
            nodes: self.planner.nodes() as u32,
            given_up_at_ms: is_impossible.then(|| self.cluster_time(self.impossible_at_ms())),
        })
    }

    /// From when on a job that no node could ever run is given up, if the nodes stay as they are.
    pub(super) fn impossible_at_ms(&self) -> u64 {
        self.nodes_changed_at_ms.max(self.ready_at_ms) + self.config.impossible_after_ms
    }

    /// What would become of `count` equal jobs that were submitted now. Looks at all nodes; nothing is booked.
    ///
    /// # Errors
    /// Names the field that cannot be meant.
    pub fn would_fit(&self, demand: &Demand, kind: &str, count: u32, now_ms: u64) -> Result<WouldFit, InvalidJob> {
        check_would_fit(demand, kind, count)?;
        let would = self.planner.would_fit(&task_class_of(demand, kind), count as usize);
        let spot = |placed: &faultline_planner::Placed| Spot {
            node: self.planner.node_name(placed.node()).to_owned(),
            gpus: placed.gpus().iter().map(|gpu| gpu as u8).collect(),
        };
        let mut answer = WouldFit {
            count,
            starts: would.placed.len() as u32,
            spots: would.placed.iter().map(spot).collect(),
            choice: would.placed.first().map(|placed| self.choice(&placed.why)),
            rejects: rejects(would.refusals),
            able: would.able,
            nodes: self.planner.nodes() as u32,
            untried: self.planner.untried() as u64,
            summary: String::new(),
        };
        answer.summary = self.would_fit_words(&answer, now_ms);
        if self.holds_back(now_ms).is_some() {
            answer.starts = 0;
        }
        Ok(answer)
    }

    /// Why this leader places nothing at all now.
    fn holds_back(&self, now_ms: u64) -> Option<String> {
        match self.ready_at_ms.checked_sub(now_ms) {
            Some(left_ms) if left_ms > 0 => Some(format!("a new leader listens for {} before it places", span(left_ms))),
            Some(_) | None if self.is_refused() => Some("workers refuse this leader, so that it places nothing".to_owned()),
            Some(_) | None => None,
        }
    }

    fn would_fit_words(&self, answer: &WouldFit, now_ms: u64) -> String {
        let held_back = self.holds_back(now_ms);
        let when = if held_back.is_some() { "then" } else { "now" };
        let (room, count) = (answer.spots.len() as u64, u64::from(answer.count));
        let nodes = answer.spots.iter().map(|spot| &spot.node).collect::<BTreeSet<_>>().len() as u64;
        let refused = summarise(&answer.rejects);
        let (it, they) = (agree(count, "it", "they"), agree(count, "it", "all of them"));
        let what = match &answer.spots[..] {
            [] if answer.nodes == 0 => format!("{it} would wait: no node is registered"),
            [] if answer.able == 0 => {
                format!(
                    "no node could ever run {}: {refused}; {they} would be given up after {}",
                    agree(count, "it", "them"),
                    limit(self.config.impossible_after_ms)
                )
            }
            [] => format!("{it} would wait: {refused}"),
            [spot] if count == 1 => format!("it would start {when} on {}", spot.words()),
            _ if room == count => format!("all {count} would start {when}, on {}", plural(nodes, "node")),
            _ => format!("{room} of {count} would start {when}, on {}; for the next one: {refused}", plural(nodes, "node")),
        };
        let untried = (answer.untried > 0).then(|| {
            format!(
                "{} {} yet to be tried and {} first",
                plural(answer.untried, "job"),
                agree(answer.untried, "has", "have"),
                agree(answer.untried, "goes", "go")
            )
        });
        [held_back, untried, Some(what)].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Spot {
    /// Such as `gpu-node-02, GPU 0 and 1`.
    pub fn words(&self) -> String {
        let gpus: Vec<String> = self.gpus.iter().map(u8::to_string).collect();
        if gpus.is_empty() { self.node.clone() } else { format!("{}, GPU {}", self.node, gpus.join(" and ")) }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
