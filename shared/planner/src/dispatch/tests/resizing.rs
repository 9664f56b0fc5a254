//! Elastic jobs that get and lose tasks while they run.

use super::*;
use crate::settings::InvalidSettings;

fn resizing(settings: DispatchSettings) -> DispatchSettings {
    DispatchSettings { resize_min_ms: Some(100), ..settings }
}

impl Desk {
    /// One to `tasks` tasks with so many whole GPUs each.
    fn submit_elastic(&mut self, tasks: u32, gpus: u16, ms: u64) -> JobNumber {
        self.submit_as(Ask { tasks, gpus, ms }, |request| request.min_tasks = 1)
    }

    /// What is done to running jobs: who, how many tasks it has then, and for whom.
    fn resizes(&mut self) -> Vec<(JobNumber, usize, Option<JobNumber>)> {
        let decisions = self.decide_all();
        let resized = |decision: &Dispatch| match decision {
            Dispatch::Resize { job, tasks, for_job } => Some((*job, tasks.len(), *for_job)),
            _ => None,
        };
        decisions.iter().filter_map(resized).collect()
    }

    fn decide_all(&mut self) -> Vec<Dispatch> {
        let mut all = Vec::new();
        loop {
            let pass = self.dispatcher.pass(self.now_ms, Limits::default());
            all.extend(pass.decisions);
            if !pass.unfinished {
                return all;
            }
        }
    }
}

/// Two nodes of two GPUs, of which a job for one GPU takes the first.
#[test]
fn a_job_grows_where_nothing_waits_and_not_before_its_time() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Skip)), &[2, 2]);
    let (small, elastic) = (desk.submit(1, 1, 50), desk.submit_elastic(4, 1, 1_000));
    assert_eq!(desk.starts(), [small, elastic]);
    assert_eq!(desk.nodes(elastic).len(), 3);
    assert_eq!(desk.at(50).end(small).resizes(), [], "it has just started");
    assert_eq!(desk.dispatcher.next_ms(), Some(100));
    assert_eq!(desk.at(100).resizes(), [(elastic, 4, None)]);
    // With three tasks it would have run for 1,334 ms, of which 1,234 are left: three quarters of them, rounded up.
    assert_eq!(desk.dispatcher.jobs[&elastic].run().unwrap().ends_ms, 100 + 926);
}

#[test]
fn a_job_that_is_about_to_end_does_not_grow() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Skip)), &[2]);
    let (small, elastic) = (desk.submit(1, 1, 50), desk.submit_elastic(2, 1, 90));
    assert_eq!(desk.starts(), [small, elastic]);
    assert_eq!(desk.at(120).end(small).resizes(), [], "60 ms of the 180 are left");
}

#[test]
fn tasks_go_to_a_job_that_waits_and_no_more_than_it_needs() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Skip)), &[4, 4]);
    let elastic = desk.submit_elastic(8, 1, 1_000);
    assert_eq!(desk.starts(), [elastic]);
    let waits = desk.at(10).submit(1, 3, 100);
    assert_eq!(desk.resizes(), [], "it has just started");
    assert_eq!(desk.at(100).resizes(), [(elastic, 5, Some(waits))]);
    assert_eq!(desk.dispatcher.tasks_of(waits).len(), 1);
    // What becomes free is for it again, once it has kept its tasks for long enough.
    assert_eq!(desk.at(150).end(waits).resizes(), []);
    assert_eq!(desk.at(200).resizes(), [(elastic, 8, None)]);
}

/// By turns: the job with the lowest priority gives first, then the youngest; and no job is stopped as long as that is enough.
#[test]
fn tasks_are_given_before_any_job_is_stopped() {
    let preemption = PreemptionSettings { by_priority: true, ..PreemptionSettings::default() };
    let settings = DispatchSettings { preemption, ..with(OrderName::Fifo, Blocking::Skip) };
    let mut desk = Desk::new(&resizing(settings), &[8]);
    let of = |priority: u8| move |request: &mut Request| (request.min_tasks, request.priority) = (2, priority);
    let important = desk.submit_as(Ask { tasks: 4, gpus: 1, ms: 1_000 }, of(5));
    let other = desk.submit_as(Ask { tasks: 4, gpus: 1, ms: 1_000 }, of(1));
    assert_eq!(desk.starts(), [important, other]);
    let urgent = desk.submit_as(Ask { tasks: 3, gpus: 1, ms: 10 }, |request| request.priority = 9);
    let decisions = desk.at(100).decide_all();
    assert!(!decisions.iter().any(|decision| matches!(decision, Dispatch::Preempt { .. })), "{decisions:?}");
    let sizes = [important, other, urgent].map(|job| desk.dispatcher.tasks_of(job).len());
    assert_eq!(sizes, [3, 2, 3]);
    let more = desk.submit_as(Ask { tasks: 2, gpus: 1, ms: 10 }, |request| request.priority = 9);
    let decisions = desk.at(150).decide_all();
    assert!(decisions.contains(&Dispatch::Preempt { job: other, for_job: more }), "{decisions:?}");
}

#[test]
fn nothing_is_taken_for_a_job_that_would_not_start() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Skip)), &[4]);
    let (firm, elastic) = (desk.submit(1, 1, 1_000), desk.submit_elastic(3, 1, 1_000));
    assert_eq!(desk.starts(), [firm, elastic]);
    desk.submit(1, 4, 100);
    assert_eq!(desk.at(100).resizes(), []);
    assert_eq!(desk.dispatcher.tasks_of(elastic).len(), 3);
}

#[test]
fn lost_tasks_leave_the_others_running_down_to_the_fewest() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Skip)), &[1, 1, 1]);
    let elastic = desk.submit_as(Ask { tasks: 3, gpus: 1, ms: 900 }, |request| request.min_tasks = 2);
    assert_eq!(desk.starts(), [elastic]);
    let node = NodeId(1);
    desk.dispatcher.close(node, Some(Closed::NotAlive));
    let left = desk.dispatcher.lose_tasks(elastic, 300, |task| task.node == node).unwrap();
    assert_eq!(left.iter().map(|task| task.node.0).collect::<Vec<_>>(), [0, 2]);
    // Two thirds are left, with two tasks instead of three.
    assert_eq!(desk.dispatcher.jobs[&elastic].run().unwrap().ends_ms, 300 + 900);
    assert_eq!(desk.dispatcher.lose_tasks(elastic, 400, |task| task.node.0 == 0), None);
    assert_eq!(desk.dispatcher.tasks_of(elastic).len(), 2);
    // The GPU that it gave back is out of use until its node opens; then it grows again.
    assert_eq!(desk.at(500).resizes(), []);
    desk.dispatcher.close(node, None);
    assert_eq!(desk.resizes(), [(elastic, 3, None)]);
    desk.end(elastic);
    assert_eq!(
        desk.dispatcher.planner.world.nodes().map(|node| desk.dispatcher.planner.world.hot(node).free_gpu_milli).sum::<u32>(),
        3_000
    );
}

/// Three nodes: a job on the first until 150 ms, the elastic one on the second. The third is kept for a job that needs the first one too.
#[test]
fn a_job_does_not_grow_on_nodes_that_are_kept() {
    let mut desk = Desk::new(&resizing(with(OrderName::Fifo, Blocking::Easy)), &[1, 1, 1]);
    let first = desk.submit(1, 1, 150);
    let elastic = desk.submit_as(Ask { tasks: 2, gpus: 1, ms: 1_000 }, |request| request.min_tasks = 1);
    assert_eq!(desk.starts(), [first, elastic]);
    desk.dispatcher.lose_tasks(elastic, 0, |task| task.node == NodeId(2));
    let wide = desk.submit(2, 1, 10);
    assert!(desk.starts().is_empty());
    assert_eq!(desk.at(100).resizes(), []);
    assert_eq!(desk.at(150).end(first).starts(), [wide]);
    assert_eq!(desk.at(160).end(wide).resizes(), [(elastic, 2, None)]);
}

#[test]
fn a_queue_that_is_at_its_limit_takes_back_what_its_own_jobs_have_more() {
    let mut limited = QueueSettings::new(0, "q".into());
    limited.limit.gpu_milli = Some(3_000);
    let settings = DispatchSettings { queues: vec![limited], ..with(OrderName::Fifo, Blocking::Skip) };
    let mut desk = Desk::new(&resizing(settings), &[8]);
    let elastic = desk.submit_elastic(8, 1, 1_000);
    assert_eq!(desk.starts(), [elastic]);
    assert_eq!(desk.dispatcher.tasks_of(elastic).len(), 3);
    let waits = desk.at(10).submit(1, 1, 100);
    assert_eq!(desk.at(100).resizes(), [(elastic, 2, Some(waits))]);
    assert_eq!(desk.at(220).end(waits).resizes(), [(elastic, 3, None)]);
}

#[test]
fn what_plans_without_resizes_refuses_them() {
    for blocking in [Blocking::Conservative, Blocking::Sticky, Blocking::ByTime, Blocking::ByCount] {
        let refused = Dispatcher::new(&resizing(with(OrderName::Fifo, blocking))).unwrap_err();
        assert_eq!(refused, InvalidSettings::NoResizes(blocking.as_str()));
    }
}
