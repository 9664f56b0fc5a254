//! Judging by silence: who is overdue, and whether so many are that the fault is rather in between. What lies in between carries
//! connections, so those are counted: a worker is silent when all of its living nodes are, however many it hosts.

use std::collections::BTreeMap;

use super::estimator::Level;
use super::{Detector, DetectorAction, Watched};
use crate::node::Health;
use crate::words::{plural, span};

/// A node that is this much later than its interval counts as silent when all are looked at together.
const SILENT_AFTER_INTERVALS: f64 = 1.2;

/// All silent workers at one moment.
struct Silent<'a> {
    /// When each fell silent.
    workers: BTreeMap<&'a str, u64>,
    /// The same times in order.
    since_ms: Vec<u64>,
    /// How many workers have nodes that are neither gone nor dead, silent or not.
    living: usize,
}

impl Detector {
    /// Returns whether a node was suspect before. The only look at all nodes that is taken in each tick.
    pub(super) fn tick_silence(&mut self, now_ms: u64, actions: &mut Vec<DetectorAction>) -> bool {
        let mut has_suspects = false;
        let is_overdue = |(_, watched): &(&String, &Watched)| {
            has_suspects |= watched.inquiry.is_some();
            watched.health != Health::Dead && watched.level(now_ms) > Level::Trusted
        };
        let overdue: Vec<(&String, &Watched)> = self.nodes.iter().filter(is_overdue).collect();
        if overdue.is_empty() {
            return has_suspects;
        }
        let silent = self.silent(now_ms);
        let together = |(node, watched): (&String, &Watched)| (node.clone(), self.fell_silent_with(&silent, &watched.worker));
        let overdue: Vec<(String, Option<usize>)> = overdue.into_iter().map(together).collect();
        let wait_limit_ms = self.config.intervals_ms(self.config.mass_postpone_intervals);
        for (node, together) in overdue {
            let Some(watched) = self.nodes.get_mut(&node) else { continue };
            watched.waiting.together = watched.waiting.together.max(together);
            let wait_ms = if watched.waiting.together.is_some() { wait_limit_ms } else { 0 };
            if let Some(health) = watched.overdue_verdict(self.config.dead_min_silence_ms, wait_ms, now_ms) {
                actions.push(watched.judge_silence(&node, health, now_ms));
            }
        }
        has_suspects
    }

    fn silent(&self, now_ms: u64) -> Silent<'_> {
        let silent_ms = (self.config.heartbeat_interval_ms as f64 * SILENT_AFTER_INTERVALS) as u64;
        let mut silent = Silent { workers: BTreeMap::new(), since_ms: Vec::new(), living: 0 };
        for (name, worker) in &self.workers {
            let nodes = worker.nodes.iter().filter_map(|node| self.nodes.get(node));
            let living = nodes.filter(|watched| matches!(watched.health, Health::Alive | Health::Suspect));
            let Some(last_ms) = living.map(|watched| watched.counted_from_ms).max() else { continue };
            silent.living += 1;
            if now_ms.saturating_sub(last_ms) >= silent_ms {
                silent.workers.insert(name, last_ms);
                silent.since_ms.push(last_ms);
            }
        }
        silent.since_ms.sort_unstable();
        silent
    }

    /// How many workers fell silent within one interval of this one, when that is more than can be believed at once. None for a worker
    /// with a node that beats: its connection works, and the silence of another node of it is that node's own.
    fn fell_silent_with(&self, silent: &Silent<'_>, worker: &str) -> Option<usize> {
        let since_ms = *silent.workers.get(worker)?;
        let interval = self.config.heartbeat_interval_ms;
        let from = silent.since_ms.partition_point(|at| *at < since_ms.saturating_sub(interval));
        let to = silent.since_ms.partition_point(|at| *at <= since_ms.saturating_add(interval));
        let together = to - from;
        let too_many =
            silent.living >= self.config.mass_min_workers && together as f64 * 100.0 > self.config.mass_percent * silent.living as f64;
        too_many.then_some(together)
    }
}

impl Watched {
    /// The worse verdict that the silence of an overdue node calls for, once it was ready for `wait_ms`.
    fn overdue_verdict(&mut self, dead_min_silence_ms: u64, wait_ms: u64, now_ms: u64) -> Option<Health> {
        let has_waited = |since: &mut Option<u64>| now_ms.saturating_sub(*since.get_or_insert(now_ms)) >= wait_ms;
        let suspected_long_enough = has_waited(&mut self.waiting.suspect_since_ms);
        let silent_to_death = self.level(now_ms) == Level::Dead && self.without_sign_ms(now_ms) >= dead_min_silence_ms;
        match self.health {
            Health::Dead => None,
            _ if silent_to_death && has_waited(&mut self.waiting.dead_since_ms) => Some(Health::Dead),
            Health::Alive => suspected_long_enough.then_some(Health::Suspect),
            Health::Suspect | Health::Gone => None,
        }
    }

    fn judge_silence(&mut self, node: &str, health: Health, now_ms: u64) -> DetectorAction {
        let silence_ms = self.counted_silence_ms(now_ms);
        let words = self.estimator.words(now_ms, silence_ms);
        let waited = self
            .waiting
            .together
            .map(|count| format!("; {} fell silent together, so the verdict waited", plural(count as u64, "worker")))
            .unwrap_or_default();
        self.judge(node, health, format!("no heartbeat for {}: {words}{waited}", span(silence_ms)), now_ms)
    }
}
