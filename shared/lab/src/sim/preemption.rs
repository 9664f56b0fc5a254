//! Running jobs that make room for others. The dispatcher books their GPUs for the other job at once; if the one that goes still writes a
//! checkpoint, the other one waits for it, which is handover.

use faultline_engine::goodput::{Ending, LossCause, Phase};

use super::Simulation;
use super::jobs::State;
use crate::outcome::AttemptEnd;

impl Simulation<'_> {
    /// The dispatcher chooses those that lose least, so it must know what is durable.
    pub(super) fn tell_checkpoints(&mut self) {
        let preemption = &self.setup.dispatch.preemption;
        if !(preemption.by_priority || preemption.reclaim) || self.dispatcher.waiting() == 0 {
            return;
        }
        for number in &self.jobs.running {
            let at_ms = self.jobs.run(*number).and_then(|run| run.plan.last_checkpoint_ms(self.now_ms));
            if let Some(at_ms) = at_ms {
                self.dispatcher.checkpointed((*number).into(), at_ms);
            }
        }
    }

    /// The job is stopped for another one, which starts next. For the dispatcher it waits again already, or even starts elsewhere in the same pass:
    /// then it must not hear of an interruption.
    pub(super) fn preempt(&mut self, number: u32, for_job: u32, starts_again: bool) {
        let runs = self.jobs.run(number).is_some_and(|run| run.state == State::Runs);
        self.tell(number);
        let wait_ms = if runs { self.last_checkpoint(number) } else { None };
        let other = self.jobs.lives[for_job as usize].as_deref_mut();
        let after_fault = other.as_ref().is_some_and(|other| other.was_hit_by_fault);
        if let (Some(wait_ms), Some(other)) = (wait_ms, other) {
            other.handover_ms = other.handover_ms.max(wait_ms);
        }
        self.keep_restart(number);
        let cause = if after_fault { LossCause::PreemptionAfterFault } else { LossCause::Preemption };
        self.release(number, AttemptEnd::Preempted, None, Ending::Interrupted(cause));
        self.jobs.rows[number as usize].preempted += 1;
        let remaining = self.wait_again(number);
        if !starts_again {
            self.dispatcher.interrupted(number.into(), self.now_ms, remaining);
        }
    }

    fn keep_restart(&mut self, number: u32) {
        let Some(life) = self.jobs.lives[number as usize].as_mut().filter(|_| self.setup.restarts_add_up) else { return };
        life.restart_left_ms = life.run.as_ref().map_or(0, |run| run.plan.useful_from_ms.saturating_sub(self.now_ms));
    }

    /// Lets the job write a last checkpoint if its grace suffices: nothing is lost then. How long that takes.
    fn last_checkpoint(&mut self, number: u32) -> Option<u64> {
        let job = &self.setup.workload.jobs[number as usize];
        let checkpoint = job.checkpoint.filter(|checkpoint| checkpoint.on_preemption)?;
        let life = self.jobs.lives[number as usize].as_mut()?;
        let run = life.run.as_ref()?;
        run.plan.progress(self.now_ms)?;
        let wait_ms = run.plan.save_ms(self.now_ms, checkpoint.write_ms);
        if wait_ms > job.grace_ms {
            return None;
        }
        life.kept_task_ms += std::mem::take(&mut life.unsaved_task_ms);
        self.books.enter(self.now_ms, &mut life.account, Phase::Handover);
        life.account.durable();
        Some(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use faultline_engine::goodput::Class;
    use faultline_planner::{DispatchSettings, PreemptionSettings, QueueSettings};

    use super::super::tests::{job, workload};
    use super::*;
    use crate::cluster::{Cluster, NodeModel};
    use crate::faults::RecordedFault;
    use crate::outcome::Outcome;
    use crate::workload::{Checkpoint, Interval, Job};
    use crate::{Setup, run};

    fn by_priority() -> DispatchSettings {
        let preemption = PreemptionSettings { by_priority: true, ..PreemptionSettings::default() };
        DispatchSettings { preemption, ..DispatchSettings::default() }
    }

    /// A job of 1,000 s gives way after 350 s to one of 100 s. It has a checkpoint of 10 s after each 100 s.
    fn gives_way(grace_ms: u64) -> Outcome {
        let checkpoint = Checkpoint { interval: Interval::Every(100_000), write_ms: 10_000, restore_ms: 5_000, on_preemption: true };
        let long = Job { checkpoint: Some(checkpoint), preemptible: true, grace_ms, ..job(0, 1_000_000) };
        let urgent = Job { priority: 9, start_ms: 2_000, ..job(350_000, 100_000) };
        let cluster = Cluster::uniform(1, &NodeModel::eight_gpus("H100"), 1, 1);
        let outcome = run(&Setup::new(cluster, workload(vec![long, urgent], 8), by_priority())).unwrap();
        assert_eq!(outcome.violations, []);
        outcome
    }

    #[test]
    fn a_job_that_gives_way_loses_what_its_grace_does_not_save() {
        // Three rounds of 110 s are done, and 20 s of the fourth.
        let hasty = gives_way(9_999);
        assert_eq!((hasty.jobs[0].lost_ms, hasty.jobs[0].preempted), (20_000, 1));
        assert_eq!(hasty.totals.lost_by(LossCause::Preemption), 20_000 * 8_000);
        assert_eq!(hasty.jobs[1].end_ms, Some(452_000));
        // With 10 s of grace nothing is lost, and the other one waits so long.
        let graceful = gives_way(10_000);
        assert_eq!((graceful.jobs[0].lost_ms, graceful.jobs[1].end_ms), (0, Some(462_000)));
        assert_eq!(graceful.totals.of(Class::Handover), 10_000 * 8_000);
        // 680 s are left, with six checkpoints.
        assert_eq!(graceful.jobs[0].end_ms, Some(462_000 + 5_000 + 680_000 + 60_000));
    }

    #[test]
    fn what_is_lost_for_a_job_that_a_fault_hit_has_the_fault_as_its_cause() {
        let small = |at_ms| Job { preemptible: true, ..job(at_ms, 1_000_000) };
        let large = Job { tasks: 2, min_tasks: 2, priority: 9, ..job(0, 500_000) };
        let cluster = Cluster::uniform(3, &NodeModel::eight_gpus("H100"), 1, 1);
        let mut setup = Setup::new(cluster, workload(vec![large, small(10)], 8), by_priority());
        setup.faults.recorded = vec![RecordedFault { node: 0, from_ms: 100_000, until_ms: 900_000 }];
        let outcome = run(&setup).unwrap();
        assert_eq!((outcome.jobs[0].interrupted, outcome.jobs[1].preempted), (1, 1));
        assert_eq!(outcome.totals.lost_by(LossCause::PreemptionAfterFault), (100_000 - 10) * 8_000);
        assert_eq!(outcome.totals.lost_by(LossCause::Preemption), 0);
    }

    #[test]
    fn what_a_queue_may_not_take_is_blocked_by_its_quota() {
        let mut limited = QueueSettings::new(0, "q".into());
        limited.limit.gpu_milli = Some(8_000);
        let dispatch = DispatchSettings { queues: vec![limited], ..DispatchSettings::default() };
        let cluster = Cluster::uniform(2, &NodeModel::eight_gpus("H100"), 1, 1);
        let outcome = run(&Setup::new(cluster, workload(vec![job(0, 100_000), job(0, 100_000)], 8), dispatch)).unwrap();
        assert_eq!(outcome.totals.of(Class::BlockedByQuota), 100_000 * 8_000);
        assert_eq!((outcome.jobs[1].end_ms, outcome.violations), (Some(200_000), vec![]));
    }
}
