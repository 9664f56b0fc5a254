//! Holds the books against each other. Called by every test and, in debug builds, after every event.

use faultline_planner::MAX_NODE_GPUS;

use super::planning::turn;
use super::{HeldState, Scheduler};
use crate::job::{GPU_MILLI, Priority};

impl Scheduler {
    /// Checks every index against every other.
    ///
    /// # Panics
    /// When the books contradict themselves, which is a bug.
    pub fn sanity_check(&self) {
        let mut waiting = [0; Priority::ALL.len()];
        let mut running = 0;
        for (id, held) in &self.jobs {
            assert_eq!(*id, held.spec.id, "a job is filed under another's id");
            match &held.state {
                HeldState::Waiting { class, .. } => {
                    waiting[held.spec.priority as usize] += 1;
                    let turn = turn(&held.spec, held.stored_at_ms, self.config.aging_ms);
                    assert!(self.planner.turns(*class).any(|other| other == turn), "{id} waits and the planner does not know it");
                }
                HeldState::Running(state) => {
                    running += 1;
                    let node = self.nodes.get(&state.node).unwrap_or_else(|| panic!("{id} runs on {}, which is not there", state.node));
                    assert_eq!(node.attempts.get(&state.attempt), Some(id), "{} does not know the attempt of {id}", state.node);
                    assert_eq!(node.spec.incarnation, state.incarnation, "{id} runs in a former life of {}", state.node);
                }
                HeldState::ReadingBack | HeldState::Returning { .. } => {}
            }
        }
        assert_eq!(waiting, self.waiting, "the waiting jobs and their count differ");
        assert_eq!(waiting.iter().sum::<usize>(), self.planner.waiting(), "the planner has other jobs that wait");
        assert_eq!(running, self.running(), "a node has attempts that no job knows");
        assert_eq!(self.nodes.len(), self.planner.nodes(), "the planner has other nodes");
        self.check_gpus();
    }

    fn check_gpus(&self) {
        for (name, node) in &self.nodes {
            let mut used = vec![(0, 0); node.slots.len()];
            for job in node.attempts.values() {
                let held = self.jobs.get(job).unwrap_or_else(|| panic!("{name} runs {job}, which is not held"));
                let HeldState::Running(state) = &held.state else { panic!("{name} runs {job}, which does not run") };
                for gpu in &state.gpus {
                    used[usize::from(*gpu)].0 += held.spec.demand.milli_per_gpu();
                    used[usize::from(*gpu)].1 += held.spec.demand.gpu_memory_mib;
                }
            }
            assert_eq!(self.planner.node(name), Some(node.id), "{name} is another node for the planner");
            for (index, (slot, (milli, mib))) in node.slots.iter().zip(used).enumerate() {
                assert_eq!((slot.used_milli, slot.reserved_mib), (milli, mib), "the books of GPU {index} of {name} are wrong");
                let planned = if index < MAX_NODE_GPUS { (milli, mib) } else { (0, 0) };
                assert_eq!(self.planner.gpu_used(node.id, index), planned, "the planner's books of GPU {index} of {name} are wrong");
                assert!(milli <= GPU_MILLI && mib <= slot.gpu.memory_mib, "GPU {index} of {name} is oversubscribed");
            }
            let booked: u32 = node.slots.iter().map(|slot| slot.used_milli).sum();
            assert_eq!(self.goodput.booked_milli(node.number), booked, "the books of GPU time have another share of {name}");
            assert!(node.attempts.len() <= node.spec.slots as usize || node.spec.slots == 0, "{name} runs more than its slots");
        }
    }
}
