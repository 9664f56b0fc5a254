//! Running jobs that get or lose tasks: by choice of the dispatcher, or because a fault took some of them.
//!
//! An attempt that is resized by choice writes a checkpoint first, then all its tasks restore it. For another job it does so only if it may and its
//! grace suffices, as when it is preempted; the other one waits for that. Else, and after a fault, it goes on from its last durable checkpoint.

use faultline_engine::goodput::{Ending, LossCause, Phase};
use faultline_planner::{JobNumber, Placement};

use super::Simulation;
use super::events::Event;
use super::jobs::{State, held};
use crate::outcome::AttemptEnd;

/// What becomes of the work since the last checkpoint.
enum Unsaved {
    /// A checkpoint is written for so long.
    Saved(u64),
    Lost(LossCause),
}

impl Simulation<'_> {
    /// The dispatcher gave the job other tasks.
    pub(super) fn resize_by_choice(&mut self, number: u32, tasks: &[Placement], for_job: Option<u32>) {
        self.tell(number);
        let unsaved = self.unsaved(number, for_job);
        if let (Unsaved::Saved(wait_ms), Some(other)) = (&unsaved, for_job)
            && let Some(other) = &mut self.jobs.lives[other as usize]
        {
            other.handover_ms = other.handover_ms.max(*wait_ms);
        }
        self.resize(number, tasks, unsaved);
    }

    /// A fault took tasks of the job. It goes on with the others if they are enough.
    pub(super) fn lose(&mut self, number: u32, culprit: u32, cause: LossCause, is_lost: impl Fn(&Placement) -> bool) {
        match self.dispatcher.lose_tasks(JobNumber::from(number), self.now_ms, is_lost) {
            Some(left) => {
                self.tell(number);
                self.begins_again = true;
                self.is_stale = true;
                self.trail.blame(self.jobs.run(number).and_then(|run| run.row), culprit);
                self.resize(number, &left, Unsaved::Lost(cause));
            }
            None => self.interrupt(number, cause),
        }
    }

    fn unsaved(&self, number: u32, for_job: Option<u32>) -> Unsaved {
        let job = self.job(number);
        let Some((run, checkpoint)) = self.jobs.run(number).zip(job.checkpoint) else { return Unsaved::Lost(LossCause::Preemption) };
        if matches!(run.state, State::Stalled { .. }) {
            return Unsaved::Lost(LossCause::NodeFault);
        }
        let save_ms = run.plan.save_ms(self.now_ms, checkpoint.write_ms);
        let Some(other) = for_job else { return Unsaved::Saved(save_ms) };
        if checkpoint.on_preemption && save_ms <= job.grace_ms {
            return Unsaved::Saved(save_ms);
        }
        let after_fault = self.jobs.lives[other as usize].as_ref().is_some_and(|other| other.was_hit_by_fault);
        Unsaved::Lost(if after_fault { LossCause::PreemptionAfterFault } else { LossCause::Preemption })
    }

    fn resize(&mut self, number: u32, tasks: &[Placement], unsaved: Unsaved) {
        let setup = self.setup;
        let job = &setup.workload.jobs[number as usize];
        let class = &setup.workload.classes[job.class as usize];
        let Some(life) = &mut self.jobs.lives[number as usize] else { return };
        let Some(mut run) = life.run.take() else { return };
        let holdings = held(tasks);
        let (gives, takes): (Vec<_>, Vec<_>) = (run.milli().collect(), run.milli_of(&holdings).collect());
        let save_ms = match unsaved {
            Unsaved::Saved(save_ms) => {
                self.books.exchange(self.now_ms, &mut life.account, gives, takes, Phase::Handover);
                (life.unsaved_task_ms > 0).then_some(save_ms)
            }
            Unsaved::Lost(cause) => {
                self.books.end(self.now_ms, &mut life.account, gives, Ending::Interrupted(cause));
                self.books.start(self.now_ms, &mut life.account, takes, Phase::Handover);
                life.unsaved_task_ms = 0;
                None
            }
        };
        life.was_shrunk = true;
        let spent = life.account.spent();
        self.trail.ended(self.now_ms, number, run.row, AttemptEnd::Resized, None);
        let row = &mut self.jobs.rows[number as usize];
        row.run_ms += self.now_ms - run.start_ms;
        row.resized += 1;
        row.set_spent(spent);
        self.end_part(number, &run);
        self.watch.started(self.now_ms, number, job, class, &holdings, &setup.cluster);
        let plan = self.plan(number, &holdings, 0, save_ms);
        (run.start_ms, run.plan, run.state, run.is_working) = (self.now_ms, plan, State::Runs, false);
        (run.tasks, run.placements, run.holdings) = (tasks.len() as u32, tasks.to_vec(), holdings);
        if let Some(life) = &mut self.jobs.lives[number as usize] {
            life.run = Some(run);
        }
        self.begin_part(number);
    }

    /// A node that the attempt is on is slower or faster than before. Nothing is lost by that.
    pub(super) fn change_speed(&mut self, number: u32) {
        let Some(run) = self.jobs.run(number) else { return };
        let speed_milli = self.nodes.speed_of(&run.holdings);
        if run.plan.speed_milli == speed_milli || run.state != State::Runs || run.plan.done_ms() <= self.now_ms {
            return;
        }
        let has_begun = run.plan.useful_from_ms < self.now_ms;
        if has_begun {
            self.tell(number);
        }
        let setup = self.setup;
        let job = &setup.workload.jobs[number as usize];
        let Some(life) = &mut self.jobs.lives[number as usize] else { return };
        let Some(mut run) = life.run.take() else { return };
        if let Some(progress) = run.plan.progress(self.now_ms).filter(|_| has_begun) {
            self.books.enter(self.now_ms, &mut life.account, Phase::Handover);
            let lead_ms = if progress.rounds == 0 { run.plan.lead_ms } else { 0 } + progress.work_ms;
            let write_ms = run.plan.rounds.map_or(0, |rounds| rounds.write_ms);
            let saved_ms = progress.writing_ms.map(|_| self.now_ms + run.plan.save_ms(self.now_ms, write_ms));
            run.plan.handed_over_ms = self.now_ms;
            run.plan.saved_ms = saved_ms;
            run.plan.useful_from_ms = saved_ms.unwrap_or(self.now_ms);
            run.plan.work_ms = life.left_ms(job, run.tasks);
            run.plan.lead_ms = if saved_ms.is_some() { 0 } else { lead_ms };
        }
        run.plan.speed_milli = speed_milli;
        self.events.push(run.plan.ends_ms(), Event::Done { job: number, attempt: run.attempt });
        life.run = Some(run);
    }
}
