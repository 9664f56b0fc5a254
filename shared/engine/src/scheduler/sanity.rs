//! Holds the books against each other. Called by every test and, in debug builds, after every event.

use super::{HeldState, Scheduler};
use crate::job::GPU_MILLI;

impl Scheduler {
    /// Checks every index against every other.
    ///
    /// # Panics
    /// When the books contradict themselves, which is a bug.
    pub fn sanity_check(&self) {
        let mut waiting = 0;
        let mut running = 0;
        for (id, held) in &self.jobs {
            assert_eq!(*id, held.spec.id, "a job is filed under another's id");
            match &held.state {
                HeldState::Waiting { .. } => waiting += 1,
                HeldState::Running(state) => {
                    running += 1;
                    let node = self.nodes.get(&state.node).unwrap_or_else(|| panic!("{id} runs on {}, which is not there", state.node));
                    assert_eq!(node.attempts.get(&state.attempt), Some(id), "{} does not know the attempt of {id}", state.node);
                    assert_eq!(node.spec.incarnation, state.incarnation, "{id} runs in a former life of {}", state.node);
                }
                HeldState::ReadingBack | HeldState::Returning { .. } => {}
            }
        }
        assert_eq!(waiting, self.queue.len(), "the queue and the waiting jobs differ");
        assert_eq!(running, self.running(), "a node has attempts that no job knows");
        let by_kind: usize = self.demand_kinds.values().map(|kind| kind.waiting).sum();
        assert_eq!(by_kind, self.queue.len(), "the kinds of demand and the queue differ");
        for job in self.queue.iter() {
            let state = self.jobs.get(&job).map(|held| &held.state);
            assert!(matches!(state, Some(HeldState::Waiting { .. })), "{job} is queued but does not wait");
        }
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
            for (index, (slot, (milli, mib))) in node.slots.iter().zip(used).enumerate() {
                assert_eq!((slot.used_milli, slot.reserved_mib), (milli, mib), "the books of GPU {index} of {name} are wrong");
                assert!(milli <= GPU_MILLI && mib <= slot.gpu.memory_mib, "GPU {index} of {name} is oversubscribed");
            }
            assert!(node.attempts.len() <= node.spec.slots as usize || node.spec.slots == 0, "{name} runs more than its slots");
        }
    }
}
