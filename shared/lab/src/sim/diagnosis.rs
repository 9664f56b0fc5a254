//! Wrong diagnoses: a node of the gang is blamed for the fault of another one. It is repaired although nothing is wrong with it, and the other
//! one goes on.

use faultline_engine::goodput::{Condition, LossCause};
use faultline_planner::Closed;
use rand::RngExt;

use super::Simulation;
use super::events::Event;
use crate::streams::{Purpose, stream};

impl Simulation<'_> {
    /// Another node of the gang that a node took down, if it is blamed for this fault. `life`: which fault of the node it is.
    pub(super) fn blamed(&self, number: usize, life: u32) -> Option<usize> {
        let share = self.setup.faults.misdiagnosis;
        if share <= 0.0 {
            return None;
        }
        let mut rng = stream(self.setup.seed, Purpose::Diagnosis, number as u64, life.into());
        if rng.random::<f64>() >= share {
            return None;
        }
        let gang = self.nodes.running(number).iter().filter_map(|job| self.jobs.run(*job)).max_by_key(|run| run.holdings.len())?;
        let others: Vec<usize> =
            gang.holdings.iter().map(|(node, _)| *node as usize).filter(|node| self.nodes.may_be_blamed(*node)).collect();
        (!others.is_empty()).then(|| others[rng.random_range(0..others.len())])
    }

    /// The node is taken out of service, and its jobs wait again.
    pub(super) fn blame(&mut self, number: usize, for_ms: u64) {
        let life = self.nodes.put_aside(number);
        self.dispatcher.close(self.nodes.id(number), Some(Closed::Draining));
        self.demand.changes(number);
        self.books.node(self.now_ms, number, self.setup.cluster.gpu_milli(number), Condition::Quarantined, 0);
        let id = self.nodes.id(number);
        for job in self.nodes.running(number).to_vec() {
            self.lose(job, number as u32, LossCause::SchedulerError, |task| task.node == id);
        }
        self.events.push(self.now_ms + for_ms, Event::Cleared { node: number as u32, life });
    }

    /// Nothing was found wrong with a node that was blamed.
    pub(super) fn on_cleared(&mut self, number: usize, life: u32) {
        if self.nodes.clear(number, life) {
            self.books.node(self.now_ms, number, self.setup.cluster.gpu_milli(number), Condition::Up, 0);
            self.tell_broken_gpus(number);
            self.make_spare(number);
        }
    }
}
