//! The lives of jobs: they arrive, wait, start, make progress, are interrupted, wait again, and end.

use faultline_engine::goodput::{Ending, LossCause, Phase, young_interval_ms};
use faultline_planner::{JobNumber, Placement, Remaining, Request};

use super::Simulation;
use super::events::Event;
use super::jobs::{Life, Run, State, held};
use super::plan::{Plan, Rounds};
use super::planted::Bug;
use crate::faults::Exposure;
use crate::outcome::{AttemptEnd, End, JobRow, Violation};
use crate::workload::{Fate, Interval, Job};

impl Simulation<'_> {
    pub(super) fn job(&self, job: u32) -> &Job {
        &self.setup.workload.jobs[job as usize]
    }

    pub(super) fn submit(&mut self, number: u32) {
        self.played += 1;
        let setup = self.setup;
        let job = &setup.workload.jobs[number as usize];
        let class = self.dispatcher.class(&setup.workload.classes[job.class as usize]);
        let request = Request {
            class,
            tasks: job.tasks,
            min_tasks: job.min_tasks,
            topology: job.topology,
            queue: job.queue,
            user: job.user,
            priority: job.priority,
            preemptible: job.preemptible,
            // Without checkpoints all of its work would be lost.
            resizable: job.checkpoint.is_some(),
            submitted_ms: job.submit_ms,
            estimate_ms: job.estimate_ms,
        };
        self.jobs.rows.push(JobRow::new(JobNumber::from(number), job.submit_ms));
        self.jobs.lives[number as usize] = Some(Box::new(Life { waits_since_ms: self.now_ms, ..Life::default() }));
        let (dispatcher, kind) = (&self.dispatcher, (job.class, job.tasks, job.min_tasks, job.topology));
        if !*self.possible.entry(kind).or_insert_with(|| dispatcher.could_ever_run(&request)) {
            return self.end(number, End::Impossible);
        }
        self.demand.waits(class, job);
        self.dispatcher.submit(JobNumber::from(number), request);
        self.is_stale = true;
    }

    /// Something came of what was done.
    pub(super) fn moved(&mut self) {
        (self.moved_ms, self.begins_again) = (self.now_ms, false);
    }

    pub(super) fn start(&mut self, number: u32, tasks: &[Placement]) {
        let setup = self.setup;
        let job = &setup.workload.jobs[number as usize];
        let class = &setup.workload.classes[job.class as usize];
        let holdings = held(tasks);
        self.watch.started(self.now_ms, number, job, class, &holdings, &setup.cluster);
        let handover_ms = self.jobs.lives[number as usize].as_ref().map_or(0, |life| life.handover_ms);
        let plan = self.plan(number, &holdings, handover_ms + self.setup.handover.start_ms, None);
        let Some(life) = self.jobs.lives[number as usize].as_mut().filter(|life| life.run.is_none()) else {
            return self.watch.violated(Violation::NotWaiting { at_ms: self.now_ms, job: number });
        };
        self.demand.starts(number, job);
        life.was_shrunk |= tasks.len() as u32 != job.tasks;
        let row = &mut self.jobs.rows[number as usize];
        row.attempts += 1;
        row.first_start_ms.get_or_insert(self.now_ms);
        row.wait_ms += self.now_ms - life.waits_since_ms;
        let attempt = row.attempts;
        let run = Box::new(Run {
            attempt,
            start_ms: self.now_ms,
            plan,
            tasks: tasks.len() as u32,
            state: State::Runs,
            placements: tasks.to_vec(),
            holdings,
            task_milli: u32::from(class.gpus) * u32::from(class.gpu_milli),
            row: None,
            is_working: false,
        });
        self.books.start(self.now_ms, &mut life.account, run.milli(), Phase::Handover);
        (life.handover_ms, life.restart_left_ms, life.was_hit_by_fault) = (0, 0, false);
        life.run = Some(run);
        if attempt == 1 {
            self.moved();
        }
        self.begin_part(number);
    }

    /// The attempt has the tasks and the plan of its run from now on.
    pub(super) fn begin_part(&mut self, number: u32) {
        let Some(run) = self.jobs.lives[number as usize].as_mut().and_then(|life| life.run.as_mut()) else { return };
        let (attempt, plan) = (run.attempt, run.plan);
        let nodes: Vec<u32> = run.holdings.iter().map(|(node, _)| *node).collect();
        run.row = self.trail.started(self.now_ms, number, attempt, run.tasks, &nodes);
        self.events.push(plan.ends_ms(), Event::Done { job: number, attempt });
        if self.setup.faults.exposure == Exposure::Working {
            self.events.push(plan.useful_from_ms, Event::Works { job: number, attempt });
        }
        let is_broken = |node: &u32| self.nodes.has_known_broken(*node as usize, &run.placements);
        if let Some(node) = nodes.iter().find(|node| is_broken(node)) {
            self.watch.violated(Violation::BrokenGpu { at_ms: self.now_ms, job: number, node: *node });
        }
        let dead = self.nodes.hold(number, &nodes, &run.placements);
        self.jobs.running.insert(number);
        self.holdings_change(&nodes);
        if let Some(culprit) = dead {
            self.stall(number, culprit);
        }
    }

    /// What is free on these nodes changes.
    pub(super) fn holdings_change(&mut self, nodes: &[u32]) {
        for node in nodes {
            self.demand.changes(*node as usize);
            if !self.nodes.all[*node as usize].broken_gpus.is_empty() {
                self.tell_broken_gpus(*node as usize);
            }
        }
    }

    /// How the job goes from now on with tasks on these nodes. `save_ms`: how long it first writes a checkpoint of what it did so far.
    pub(super) fn plan(&self, number: u32, holdings: &[(u32, u32)], handover_ms: u64, save_ms: Option<u64>) -> Plan {
        let job = self.job(number);
        let life = self.jobs.lives[number as usize].as_ref();
        let is_first = self.jobs.rows[number as usize].attempts == 0;
        let restore_ms = job.checkpoint.filter(|_| !is_first).map_or(job.start_ms, |checkpoint| checkpoint.restore_ms);
        let restore_ms = restore_ms + life.map_or(0, |life| life.restart_left_ms);
        let tasks = holdings.iter().map(|(_, tasks)| *tasks).sum();
        let rounds = job.checkpoint.and_then(|checkpoint| {
            let every_ms = match checkpoint.interval {
                Interval::Every(ms) => Some(ms.max(1)),
                Interval::Optimal => {
                    young_interval_ms(checkpoint.write_ms, self.setup.faults.mean_between_faults_ms() / holdings.len().max(1) as f64)
                }
            };
            every_ms.map(|work_ms| Rounds { work_ms, write_ms: checkpoint.write_ms })
        });
        let handed_over_ms = self.now_ms + handover_ms;
        let saved_ms = save_ms.map(|save_ms| handed_over_ms + save_ms);
        Plan {
            handed_over_ms,
            saved_ms,
            useful_from_ms: saved_ms.unwrap_or(handed_over_ms) + restore_ms,
            work_ms: life.map_or(0, |life| life.left_ms(job, tasks)),
            rounds,
            lead_ms: 0,
            speed_milli: self.nodes.speed_of(holdings),
            report_ms: self.setup.handover.end_ms,
        }
    }

    pub(super) fn on_done(&mut self, number: u32, attempt: u32) {
        let runs = |run: &Run| run.attempt == attempt && run.state == State::Runs && run.plan.ends_ms() == self.now_ms;
        if !self.jobs.run(number).is_some_and(runs) {
            return;
        }
        let (end, attempt_end, ending) = match self.job(number).fate {
            Fate::Passed | Fate::Unknown => (End::Committed, AttemptEnd::Done, Ending::Committed),
            Fate::Failed => (End::Failed, AttemptEnd::Failed, Ending::Abandoned(LossCause::OwnFailure)),
            Fate::Killed => (End::Killed, AttemptEnd::Killed, Ending::Abandoned(LossCause::Cancel)),
        };
        self.tell(number);
        self.release(number, attempt_end, None, ending);
        self.dispatcher.ended(JobNumber::from(number), self.now_ms);
        self.end(number, end);
    }

    /// Nothing is left to do for the job.
    fn end(&mut self, number: u32, end: End) {
        let row = &mut self.jobs.rows[number as usize];
        if row.end_ms.is_some() {
            return self.watch.violated(Violation::EndedTwice { at_ms: self.now_ms, job: number });
        }
        (row.end, row.end_ms) = (end, Some(self.now_ms));
        if let Some(life) = self.jobs.lives[number as usize].take() {
            let job = &self.setup.workload.jobs[number as usize];
            let class = &self.setup.workload.classes[job.class as usize];
            self.watch.job_over(row, job, class, &life, 0);
        }
        self.jobs.ended += 1;
        self.moved();
        self.is_stale = true;
    }

    /// Brings the books up to now; progress that is durable is kept for the next attempt.
    pub(super) fn tell(&mut self, number: u32) {
        let forgets_loss = self.has(Bug::ForgottenLoss);
        let Some(life) = &mut self.jobs.lives[number as usize] else { return };
        let Some(run) = &life.run else { return };
        if run.state == State::Runs {
            run.plan.tell(self.now_ms, &mut self.books, &mut life.account);
            let (made_ms, tasks) = (run.plan.made_ms(self.now_ms), u128::from(run.tasks));
            let durable_ms = if forgets_loss { made_ms } else { run.plan.durable_ms(self.now_ms) };
            if run.plan.keeps_earlier(self.now_ms) {
                life.kept_task_ms += std::mem::take(&mut life.unsaved_task_ms);
            }
            life.kept_task_ms += u128::from(durable_ms) * tasks;
            life.unsaved_task_ms += u128::from(made_ms - durable_ms) * tasks;
            life.made_ms += made_ms;
            life.made_task_ms += u128::from(made_ms) * tasks;
            if durable_ms > 0 {
                self.moved();
            }
        }
    }

    /// The attempt holds nothing from now on.
    pub(super) fn release(&mut self, number: u32, end: AttemptEnd, culprit: Option<u32>, ending: Ending) {
        let leaks = self.has(Bug::LeakedGpu);
        let Some(life) = &mut self.jobs.lives[number as usize] else { return };
        let Some(run) = life.run.take() else { return };
        let leaked = usize::from(leaks && end == AttemptEnd::Fault);
        self.books.end(self.now_ms, &mut life.account, run.milli().skip(leaked), ending);
        let unsaved_task_ms = std::mem::take(&mut life.unsaved_task_ms);
        match ending {
            Ending::Committed => life.kept_task_ms += unsaved_task_ms,
            Ending::Interrupted(_) => {}
            Ending::Abandoned(_) => life.kept_task_ms = 0,
        }
        self.trail.ended(self.now_ms, number, run.row, end, culprit);
        let (row, spent) = (&mut self.jobs.rows[number as usize], life.account.spent());
        row.run_ms += self.now_ms - run.start_ms;
        row.set_spent(spent);
        self.jobs.running.remove(&number);
        self.end_part(number, &run);
    }

    /// The nodes of the run have none of its tasks any more.
    pub(super) fn end_part(&mut self, number: u32, run: &Run) {
        self.rest(run);
        self.nodes.let_go(number, &run.holdings);
        let class = &self.setup.workload.classes[self.job(number).class as usize];
        self.watch.ended(class, &run.holdings);
        let nodes: Vec<u32> = run.holdings.iter().map(|(node, _)| *node).collect();
        self.holdings_change(&nodes);
    }

    /// A member is dead: no progress from now on.
    pub(super) fn stall(&mut self, number: u32, culprit: u32) {
        self.tell(number);
        let Some(life) = &mut self.jobs.lives[number as usize] else { return };
        let Some(run) = &mut life.run else { return };
        if !matches!(run.state, State::Stalled { .. }) {
            self.books.enter(self.now_ms, &mut life.account, Phase::Stalled);
            run.state = State::Stalled { culprit };
            life.was_hit_by_fault = true;
        }
        let Some(mut run) = life.run.take() else { return };
        self.rest(&run);
        run.is_working = false;
        if let Some(life) = &mut self.jobs.lives[number as usize] {
            life.run = Some(run);
        }
    }

    /// The scheduler learned that a member is dead: the whole attempt ends, and the job waits again.
    pub(super) fn interrupt(&mut self, number: u32, cause: LossCause) {
        let culprit = match self.jobs.run(number).map(|run| run.state) {
            Some(State::Stalled { culprit }) => Some(culprit),
            Some(_) => None,
            None => return,
        };
        self.tell(number);
        self.release(number, AttemptEnd::Fault, culprit, Ending::Interrupted(cause));
        self.jobs.rows[number as usize].interrupted += 1;
        self.begins_again = true;
        let remaining = self.wait_again(number);
        self.dispatcher.interrupted(JobNumber::from(number), self.now_ms, remaining);
    }

    /// The job waits from now on; what is left of it, for the dispatcher.
    pub(super) fn wait_again(&mut self, number: u32) -> Remaining {
        let setup = self.setup;
        let job = &setup.workload.jobs[number as usize];
        let class = self.dispatcher.class(&setup.workload.classes[job.class as usize]);
        self.demand.waits(class, job);
        self.is_stale = true;
        let Some(life) = &mut self.jobs.lives[number as usize] else { return Remaining::default() };
        life.waits_since_ms = self.now_ms;
        // What the submitter believed, less what is done already.
        let restart_ms =
            job.checkpoint.filter(|_| setup.restarts_add_up).map_or(0, |checkpoint| checkpoint.restore_ms + life.restart_left_ms);
        let left_ms = |estimate_ms: u64| estimate_ms.saturating_sub(life.kept_ms(job).min(job.work_ms)).max(1) + restart_ms;
        let estimate_ms = job.estimate_ms.map(left_ms);
        Remaining { estimate_ms }
    }

    /// The window closes: what runs or waits stays open.
    pub(super) fn close_jobs(&mut self) {
        for number in 0..self.jobs.rows.len() as u32 {
            self.tell(number);
            let Some(life) = &mut self.jobs.lives[number as usize] else { continue };
            self.books.close_account(self.now_ms, &mut life.account);
            let (row, spent) = (&mut self.jobs.rows[number as usize], life.account.spent());
            match &life.run {
                Some(run) => row.run_ms += self.now_ms - run.start_ms,
                None => row.wait_ms += self.now_ms - life.waits_since_ms,
            }
            row.set_spent(spent);
            let job = &self.setup.workload.jobs[number as usize];
            let class = &self.setup.workload.classes[job.class as usize];
            self.watch.job_over(row, job, class, life, spent.open_ms);
        }
    }
}
