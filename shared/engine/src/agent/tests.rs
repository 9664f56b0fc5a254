//! The worker's rules one by one. How they hold together with the scheduler's is the simulation's business.

use super::*;
use crate::fault::AttemptEnd;
use crate::job::{Commit, Demand, GPU_MILLI, JobId, JobSpec, Params, Priority, TerminalRecord};
use crate::node::{GpuDescriptor, NodeSpec};

fn node_spec() -> NodeSpec {
    NodeSpec {
        node: "gpu-node-01".into(),
        worker: "worker-01".into(),
        incarnation: 3,
        gpus: vec![GpuDescriptor { model: "L4".into(), memory_mib: 24_000 }; 2],
        rack: "r1".into(),
        slots: 64,
        kinds: vec!["sleep".into()],
        fault_percent_per_min: 0.0,
        telemetry_source: "simulated".into(),
        gpu_problem: None,
    }
}

fn assignment(n: u128) -> Assignment {
    let spec = JobSpec {
        id: JobId::new(0, n),
        name: "wait".into(),
        kind: "sleep".into(),
        params: Params::new(),
        priority: Priority::Normal,
        demand: Demand { gpu_milli: GPU_MILLI, gpu_memory_mib: 0, models: vec![] },
        expected_ms: 1000,
        timeout_ms: 60_000,
        max_retries: 1,
        submitted_at_ms: 0,
        origin: Default::default(),
    };
    Assignment {
        spec,
        attempt: AttemptId::new(0, n),
        node: "gpu-node-01".into(),
        incarnation: 3,
        gpus: vec![0],
        open_seq: 7,
        ack_subject: format!("ack.{n}"),
        placed_at_ms: 0,
        failures: 0,
        requeues: 0,
        history: Vec::new(),
        why: String::new(),
        choice: None,
        epoch: 1,
    }
}

fn agent() -> Agent {
    Agent::new([AgentNode::new(node_spec())])
}

fn life(timeout_ms: u64, failures: u32) -> Life {
    let mut assignment = assignment(1);
    (assignment.spec.timeout_ms, assignment.failures) = (timeout_ms, failures);
    Life::new(AttemptConfig { retry_base_ms: 1000, retry_cap_ms: 60_000 }, Arc::new(assignment), 1_000_000)
}

/// Why an assignment was given back, if it was.
fn refusal(actions: &[AgentAction]) -> Option<&str> {
    match actions {
        [AgentAction::Report(ended), AgentAction::Nak { .. }] => Some(&ended.detail),
        _ => None,
    }
}

fn outcome(actions: &[AttemptAction]) -> Option<AttemptOutcome> {
    actions.iter().find_map(|action| match action {
        AttemptAction::Report(ended) => Some(ended.outcome),
        _ => None,
    })
}

#[test]
fn a_deposed_leader_is_refused_in_everything() {
    let mut agent = agent();
    assert!(agent.on_assignments(5, vec![assignment(1)], 0).is_ok());
    assert_eq!(agent.on_assignments(4, vec![assignment(2)], 0), Err(Deposed { newest: 5 }));
    assert_eq!(agent.on_sync(4, 0), Err(Deposed { newest: 5 }));
    assert_eq!(agent.on_kill(4, &[AttemptId::new(0, 1)]), Err(Deposed { newest: 5 }));
    let synced = agent.on_sync(6, 0).unwrap().nodes;
    assert_eq!((synced[0].incarnation, synced[0].running.len(), agent.epoch()), (3, 1, 6));
    assert_eq!(agent.on_assignments(5, vec![assignment(2)], 0), Err(Deposed { newest: 6 }));
    assert_eq!(agent.on_kill(6, &[AttemptId::new(0, 1), AttemptId::new(0, 9)]).unwrap().len(), 1);
}

#[test]
fn a_new_leader_is_told_how_long_each_attempt_has_run() {
    let mut agent = agent();
    agent.on_assignments(5, vec![assignment(1)], 1_000).unwrap();
    let synced = agent.on_sync(6, 4_500).unwrap().nodes;
    assert_eq!(synced[0].running[0].elapsed_ms, Some(3_500));
}

#[test]
fn an_end_that_the_history_may_not_have_is_told_to_each_new_leader() {
    let mut agent = agent();
    agent.on_assignments(5, vec![assignment(1)], 0).unwrap();
    let mut unanswered = life(60_000, 0);
    let stopped = unanswered.on_time(FENCED_AFTER_MS);
    let mut unwritten = life(60_000, 0);
    unwritten.on_executed(Executed::Failed { detail: "boom".into(), retry: true }, 10);
    let mut written = life(60_000, 0);
    written.on_executed(Executed::Failed { detail: "boom".into(), retry: true }, 10);
    let actions = [stopped, unwritten.on_failure_written(false, 20), written.on_failure_written(true, 20)].concat();
    let ended: Vec<EndedAttempt> =
        actions.into_iter().filter_map(|action| if let AttemptAction::Report(ended) = action { Some(ended) } else { None }).collect();
    agent.on_ended(ended);
    for epoch in [6, 7] {
        let untold = agent.on_sync(epoch, 0).unwrap().untold;
        let rows: Vec<_> = untold.iter().filter_map(|ended| ended.row.as_ref()).map(|row| (row.outcome, row.gpus.len())).collect();
        assert_eq!(rows, [(AttemptOutcome::Lost, 1), (AttemptOutcome::Failed, 1)]);
    }
    agent.node_mut("gpu-node-01").unwrap().on_cut_off(true);
    assert_eq!(agent.on_sync(8, 0).unwrap(), SyncAnswer::default(), "what is cut off says nothing");
}

#[test]
fn what_cannot_run_is_given_back_with_the_reason() {
    let mut agent = agent();
    let mut give = |change: fn(&mut Assignment), n| {
        let mut assignment = assignment(n);
        change(&mut assignment);
        let actions = agent.on_assignments(1, vec![assignment], 0).unwrap();
        agent.sanity_check();
        (actions.len(), refusal(&actions).map(str::to_owned))
    };
    assert_eq!(give(|_| {}, 1), (1, None));
    assert_eq!(give(|_| {}, 1), (0, None), "a duplicate needs no word");
    assert!(give(|_| {}, 2).1.unwrap().contains("GPUs are taken"));
    assert!(give(|it| it.gpus = vec![9], 3).1.unwrap().contains("GPUs are taken"));
    assert!(give(|it| it.incarnation = 2, 4).1.unwrap().contains("another incarnation"));
    assert!(give(|it| it.node = "elsewhere".into(), 5).1.unwrap().contains("another incarnation"));
    assert!(give(|it| (it.gpus, it.spec.kind) = (vec![1], "compute".into()), 6).1.unwrap().contains("no executor"));
    agent.on_drain();
    let refused = agent.on_assignments(1, vec![assignment(7)], 0).unwrap();
    assert!(refusal(&refused).unwrap().contains("stopping"));
    let leaving = agent.on_leave();
    assert_eq!((leaving[0].handed_back.len(), leaving[0].was_down), (1, false));
}

#[test]
fn a_dead_node_is_silent_and_comes_back_as_another() {
    let mut agent = agent();
    agent.on_assignments(1, vec![assignment(1)], 0).unwrap();
    let node = agent.node_mut("gpu-node-01").unwrap();
    assert_eq!(node.next_heartbeat(), Some(1));
    assert_eq!(node.on_crash(), 1);
    assert_eq!(node.next_heartbeat(), None);
    assert_eq!(agent.on_assignments(1, vec![assignment(2)], 0).unwrap(), []);
    assert!(agent.on_sync(1, 0).unwrap().nodes.is_empty());
    let node = agent.node_mut("gpu-node-01").unwrap();
    node.on_reboot();
    assert_eq!((node.next_heartbeat(), node.spec().incarnation), (Some(1), 4));
    node.on_mute(true);
    assert_eq!(node.next_heartbeat(), None);
    assert_eq!(agent.on_sync(1, 0).unwrap().nodes.len(), 1, "it answers although its heartbeats are lost");
}

#[test]
fn what_a_machine_dropped_when_it_died_has_no_end_that_it_tells() {
    let mut agent = agent();
    agent.on_assignments(1, vec![assignment(1)], 0).unwrap();
    let mut life = life(60_000, 0);
    agent.node_mut("gpu-node-01").unwrap().on_crash();
    let actions = life.on_stop(900);
    let [AttemptAction::StopWork, AttemptAction::Report(ended)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(ended.outcome, AttemptOutcome::Cancelled);
    assert_eq!(agent.on_ended(vec![ended.clone()]), []);
}

#[test]
fn a_finished_attempt_commits_acknowledges_and_frees() {
    let mut agent = agent();
    agent.on_assignments(1, vec![assignment(1)], 0).unwrap();
    let mut life = life(60_000, 0);
    let actions = life.on_executed(Executed::Done { result: "42".into() }, 900);
    let [AttemptAction::Commit(record)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((record.open_seq, record.ended_at_ms, record.result.as_str()), (7, 1_000_900, "42"));
    assert_eq!(life.on_commit_answer(CommitAnswer::Unanswered, 6_000), []);
    assert_eq!(life.next_wake_ms(), Some(6_200));
    assert!(matches!(&life.on_time(6_200)[..], [AttemptAction::Commit(again)] if again == record));
    let actions = life.on_commit_answer(CommitAnswer::Answered(Commit::Committed), 6_201);
    let [AttemptAction::Ack, AttemptAction::Report(ended)] = &actions[..] else { panic!("{actions:?}") };
    assert!(life.is_over() && ended.outcome == AttemptOutcome::Committed);
    assert_eq!(agent.on_ended(vec![ended.clone()]), std::slice::from_ref(ended));
    agent.sanity_check();
    assert_eq!(agent.running(), 0);
}

#[test]
fn a_commit_that_comes_too_late_is_discarded_and_acknowledged() {
    let mut life = life(60_000, 0);
    life.on_executed(Executed::Done { result: String::new() }, 900);
    let actions = life.on_commit_answer(CommitAnswer::Answered(Commit::TooLate(None)), 901);
    assert!(actions[0] == AttemptAction::Ack && outcome(&actions) == Some(AttemptOutcome::Superseded));
}

#[test]
fn a_job_whose_record_is_missing_is_handed_back_and_not_acknowledged_away() {
    let mut life = life(60_000, 0);
    life.on_executed(Executed::Done { result: String::new() }, 900);
    let actions = life.on_commit_answer(CommitAnswer::Answered(Commit::NoRecord), 901);
    assert!(actions[0] == AttemptAction::Nak { delay_ms: 0 } && outcome(&actions) == Some(AttemptOutcome::Lost));
    assert!(life.is_over());
}

#[test]
fn progress_is_said_every_five_seconds_and_silence_fences() {
    let mut life = life(3_600_000, 0);
    assert_eq!(life.next_wake_ms(), Some(5_000));
    assert_eq!(life.on_time(5_000), [AttemptAction::SayProgress { limit_ms: 2_000 }]);
    life.on_progress_answer(ProgressAnswer::Heard, 5_001);
    assert_eq!(life.next_wake_ms(), Some(10_000));
    assert_eq!(life.on_time(10_000).len(), 1);
    life.on_progress_answer(ProgressAnswer::Unanswered, 12_000);
    assert_eq!(life.on_time(12_200).len(), 1, "asked again after a pause");
    life.on_progress_answer(ProgressAnswer::Unanswered, 14_200);
    assert_eq!(life.on_time(16_500), [AttemptAction::SayProgress { limit_ms: 500 }]);
    assert_eq!(life.next_wake_ms(), Some(17_000));
    let actions = life.on_time(17_000);
    assert!(life.is_over());
    let [AttemptAction::StopWork, AttemptAction::Report(ended)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((ended.outcome, ended.told), (AttemptOutcome::Lost, Told::Unanswered));
    assert!(ended.detail.contains("no sign of progress for 12 s"), "{}", ended.detail);
    assert!(!actions.iter().any(|action| matches!(action, AttemptAction::Nak { .. } | AttemptAction::Ack)));
}

#[test]
fn work_goes_on_while_its_consumer_is_gone() {
    let mut life = life(3_600_000, 0);
    for at_ms in (5_000..60_000).step_by(5_000) {
        assert_eq!(life.on_time(at_ms).len(), 1, "{at_ms}");
        assert_eq!(life.on_progress_answer(ProgressAnswer::NoConsumer, at_ms + 1), []);
    }
    assert!(!life.is_over());
}

#[test]
fn a_long_reason_is_cut_where_it_arises() {
    let mut life = life(60_000, 0);
    let actions = life.on_executed(Executed::Failed { detail: "ü".repeat(5_000), retry: true }, 1);
    let [_, AttemptAction::WriteFailure(failure)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((failure.detail.len(), failure.path.history[0].detail.len()), (1024, 1024));
}

#[test]
fn what_is_refused_again_and_again_comes_back_ever_more_rarely() {
    let mut agent = agent();
    let mut pause_ms = |requeues, change: fn(&mut Assignment)| {
        let mut assignment = assignment(u128::from(requeues) + 10);
        assignment.requeues = requeues;
        change(&mut assignment);
        match &agent.on_assignments(1, vec![assignment], 0).unwrap()[..] {
            [AgentAction::Report(ended), AgentAction::Nak { delay_ms, .. }] => {
                assert_eq!((ended.told, ended.retry_delay_ms), (Told::Refused, *delay_ms));
                *delay_ms
            }
            other => panic!("{other:?}"),
        }
    };
    let pauses: Vec<u64> = (0..8).map(|requeues| pause_ms(requeues, |it| it.incarnation = 2)).collect();
    assert_eq!(pauses, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]);
    assert_eq!([pause_ms(0, |it| it.gpus = vec![9]), pause_ms(4, |it| it.gpus = vec![9])], [1_000, 2_000]);
    assert_eq!(pause_ms(u32::MAX, |it| it.incarnation = 2), 10_000);
}

#[test]
fn a_failure_is_in_the_history_before_the_job_may_come_again() {
    let mut first = life(60_000, 0);
    let actions = first.on_executed(Executed::Failed { detail: "boom".into(), retry: true }, 10);
    let [AttemptAction::StopWork, AttemptAction::WriteFailure(failure)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((failure.path.failures, failure.path.history.len()), (1, 1));
    assert!((500..=1000).contains(&failure.retry_delay_ms));
    assert_eq!(first.on_stop(11), []);
    let after = first.on_failure_written(true, 12);
    assert_eq!(after[0], AttemptAction::Nak { delay_ms: failure.retry_delay_ms });
    assert_eq!(outcome(&after), Some(AttemptOutcome::Failed));

    let mut last = life(4_000, 1);
    assert!(matches!(&last.on_time(4_000)[1], AttemptAction::WriteFailure(it) if it.path.failures == 2 && it.retry_delay_ms == 0));
    assert_eq!(outcome(&last.on_failure_written(true, 4_001)), Some(AttemptOutcome::TimedOut));

    let mut hopeless = life(60_000, 0);
    let actions = hopeless.on_executed(Executed::Failed { detail: "bad parameter".into(), retry: false }, 1);
    assert!(matches!(&actions[1], AttemptAction::WriteFailure(it) if it.path.failures == 1 && it.no_retry && it.retry_delay_ms == 0));
}

#[test]
fn a_failure_that_could_not_be_written_is_not_handed_back() {
    let mut cut_off = life(60_000, 0);
    cut_off.on_executed(Executed::Failed { detail: "boom".into(), retry: true }, 10);
    let actions = cut_off.on_failure_written(false, 12_010);
    assert!(matches!(&actions[..], [AttemptAction::Report(ended)] if ended.outcome == AttemptOutcome::Failed));
}

#[test]
fn a_fault_of_the_machine_costs_the_job_a_requeue_or_a_failure() {
    let interrupted = |end| {
        let mut life = life(60_000, 1);
        let actions = life.on_interrupted(end, "xid_94 on GPU 0".into(), 10);
        let [AttemptAction::StopWork, AttemptAction::WriteFailure(failure)] = &actions[..] else { panic!("{actions:?}") };
        (failure.outcome, failure.path.failures, failure.path.requeues)
    };
    assert_eq!(interrupted(AttemptEnd::Requeued), (AttemptOutcome::Lost, 1, 1));
    assert_eq!(interrupted(AttemptEnd::Failed), (AttemptOutcome::Failed, 2, 0));
}

#[test]
fn a_zombie_does_not_fence_itself_but_does_so_when_it_can_hear_again() {
    let mut life = life(60_000, 0);
    life.on_time(5_000);
    life.on_cut_off(true, 5_000);
    assert!(life.on_time(30_000).is_empty());
    life.on_cut_off(false, 30_000);
    assert_eq!(life.on_time(30_000).len(), 1);
    life.on_progress_answer(ProgressAnswer::Unanswered, 32_000);
    assert_eq!(outcome(&life.on_time(42_000)), Some(AttemptOutcome::Lost));
}

#[test]
fn what_is_cut_off_or_out_of_service_takes_nothing() {
    let mut agent = agent();
    agent.on_assignments(1, vec![assignment(1)], 0).unwrap();
    let node = agent.node_mut("gpu-node-01").unwrap();
    node.on_gpu_service(1, true);
    let mut on_the_broken_gpu = assignment(2);
    on_the_broken_gpu.gpus = vec![1];
    assert_eq!(node.check(&on_the_broken_gpu), Err(Refusal::OutOfService));
    node.on_gpu_service(1, false);
    assert_eq!(node.check(&on_the_broken_gpu), Ok(()));
    node.on_cut_off(true);
    assert_eq!((node.next_heartbeat(), node.answers()), (None, false));
    assert_eq!(node.check(&on_the_broken_gpu), Err(Refusal::Down));
    assert!(agent.on_kill(1, &[AttemptId::new(0, 1)]).unwrap().is_empty());
}

#[test]
fn a_killed_attempt_is_always_reported_so_that_its_gpu_is_free() {
    let mut working = life(60_000, 0);
    assert_eq!(outcome(&working.on_stop(5)), Some(AttemptOutcome::Cancelled));

    let mut between_tries = life(60_000, 0);
    between_tries.on_executed(Executed::Done { result: String::new() }, 1);
    between_tries.on_commit_answer(CommitAnswer::Unanswered, 2);
    assert_eq!(outcome(&between_tries.on_stop(3)), Some(AttemptOutcome::Cancelled));

    let mut committing = life(60_000, 0);
    committing.on_executed(Executed::Done { result: String::new() }, 1);
    assert_eq!(committing.on_stop(2), []);
    assert_eq!(outcome(&committing.on_commit_answer(CommitAnswer::Unanswered, 3)), Some(AttemptOutcome::Cancelled));

    let mut committed = life(60_000, 0);
    committed.on_executed(Executed::Done { result: String::new() }, 1);
    committed.on_stop(2);
    let actions = committed.on_commit_answer(CommitAnswer::Answered(Commit::Committed), 3);
    assert_eq!(outcome(&actions), Some(AttemptOutcome::Committed));
}

#[test]
fn results_are_cut_to_what_a_record_may_hold() {
    let mut life = life(60_000, 0);
    let actions = life.on_executed(Executed::Done { result: "é".repeat(5_000) }, 1);
    let [AttemptAction::Commit(record)] = &actions[..] else { panic!("{actions:?}") };
    let TerminalRecord { result, .. } = &**record;
    assert_eq!(result.chars().count(), 4096);
}
