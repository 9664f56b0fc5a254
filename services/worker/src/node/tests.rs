use faultline_engine::agent::{Agent, AgentAction, Refusal};
use faultline_engine::fault::{FaultCause, FaultDepth, FaultProfile, FaultyNode};
use faultline_engine::job::{Assignment, AttemptOutcome, Demand, EndedAttempt, JobId, JobSpec, Params, Priority, Told};
use faultline_engine::node::{GpuDescriptor, NodeSpec};

use std::sync::Mutex;

use super::*;
use crate::telemetry::SimulatedDevices;

const GPUS: usize = 8;

/// A node with the agent that decides for it.
struct Machine {
    agent: Agent,
    hosted: HostedNode,
}

impl Machine {
    fn agent(&mut self) -> (&mut AgentNode, &mut HostedNode) {
        (self.agent.node_mut("gpu-node-01").unwrap(), &mut self.hosted)
    }

    fn age(&mut self, now_ms: u64) -> Vec<FaultNews> {
        let (agent, hosted) = self.agent();
        hosted.age(agent, now_ms)
    }

    fn sample(&mut self, now_ms: u64) {
        let (agent, hosted) = self.agent();
        hosted.sample(agent, now_ms);
    }

    fn order(&mut self, order: &FaultOrder, now_ms: u64) -> Vec<FaultNews> {
        let (agent, hosted) = self.agent();
        hosted.order(agent, order, now_ms)
    }

    fn heartbeat(&mut self, now_ms: u64) -> Option<Heartbeat> {
        let (agent, hosted) = self.agent();
        hosted.heartbeat(agent, now_ms)
    }

    fn check(&mut self, assignment: &Assignment) -> Result<(), Refusal> {
        self.agent().0.check(assignment)
    }

    fn finish(&mut self, n: u128) {
        let ended = EndedAttempt {
            job: JobId::new(0, n),
            attempt: AttemptId::new(0, n),
            node: "gpu-node-01".into(),
            outcome: AttemptOutcome::Lost,
            detail: String::new(),
            at_ms: 0,
            retry_delay_ms: 0,
            told: Told::ByWorker,
            row: None,
            ran_ms: None,
        };
        self.agent.on_ended(vec![ended]);
        self.hosted.finish(AttemptId::new(0, n));
    }
}

fn node() -> Machine {
    node_with(Box::new(SimulatedDevices::of_default_node(1)))
}

fn node_with(devices: Box<dyn DeviceSource>) -> Machine {
    let spec = NodeSpec {
        node: "gpu-node-01".into(),
        worker: "worker-01".into(),
        incarnation: 1,
        gpus: vec![GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_559 }; GPUS],
        rack: "rack-1".into(),
        slots: 64,
        kinds: vec!["matrix".into()],
        fault_percent_per_min: 0.0,
        telemetry_source: "simulated".into(),
        gpu_problem: None,
    };
    let injector = FaultInjector::new(FaultProfile::off(), 1, FaultyNode { index: 1, incarnation: 1, gpus: GPUS as u8 });
    let hosted = HostedNode::new(GPUS, devices, injector);
    let mut node = Machine { agent: Agent::new([AgentNode::new(spec)]), hosted };
    node.age(0);
    node.sample(0);
    node
}

fn assignment(n: u128, gpus: &[u8]) -> Assignment {
    let gpu_milli = if gpus.len() > 1 { GPU_MILLI * gpus.len() as u32 } else { 300 };
    Assignment {
        spec: JobSpec {
            id: JobId::new(0, n),
            name: "test".into(),
            kind: "matrix".into(),
            params: Params::new(),
            priority: Priority::Normal,
            demand: Demand { gpu_milli, gpu_memory_mib: 100, models: vec![] },
            expected_ms: 1_000,
            timeout_ms: 10_000,
            max_retries: 0,
            submitted_at_ms: 0,
            origin: Default::default(),
        },
        attempt: AttemptId::new(0, n),
        node: "gpu-node-01".into(),
        incarnation: 1,
        gpus: gpus.to_vec(),
        epoch: 1,
        open_seq: 1,
        ack_subject: "ack".into(),
        placed_at_ms: 0,
        failures: 0,
        requeues: 0,
        history: vec![],
        why: String::new(),
        choice: None,
    }
}

/// Starts an attempt without a task, and gives what a fault tells it.
fn start(node: &mut Machine, n: u128, gpus: &[u8]) -> Arc<Interruption> {
    let actions = node.agent.on_assignments(1, vec![assignment(n, gpus)], 0).unwrap();
    assert!(matches!(&actions[..], [AgentAction::Start(_)]), "{actions:?}");
    let interruption = Arc::new(Interruption::new());
    let task =
        Task { progress: Progress::default(), stop: CancellationToken::new(), interruption: Arc::clone(&interruption), handle: None };
    node.hosted.start(AttemptId::new(0, n), task);
    interruption
}

fn order(kind: FaultOrderKind, gpu: Option<u8>) -> FaultOrder {
    FaultOrder { node: "gpu-node-01".into(), kind, for_ms: 10_000, factor: 4.0, gpu, by: String::new() }
}

fn break_with(node: &mut Machine, kind: FaultKind, gpu: Option<u8>, now_ms: u64) -> FaultNews {
    node.order(&order(FaultOrderKind::Break(kind), gpu), now_ms).remove(0)
}

fn end_of(interruption: &Interruption) -> Option<AttemptEnd> {
    interruption.get().map(|(end, _)| *end)
}

#[test]
fn a_gpu_that_fell_off_the_bus_is_gone_until_the_fault_ends() {
    for kind in [FaultKind::Xid79, FaultKind::Xid48, FaultKind::Xid95] {
        let mut node = node();
        let (hit, spared) = (start(&mut node, 1, &[2, 3]), start(&mut node, 2, &[4]));
        let news = break_with(&mut node, kind, Some(3), 1_000);
        assert!(news.began && news.changes_service && news.detail.contains("on GPU 3, 1 attempt hit for 10 s"), "{}", news.detail);
        assert_eq!((end_of(&hit), end_of(&spared)), (Some(AttemptEnd::Requeued), None), "{kind}");
        let truth = &news.truth;
        assert_eq!((truth.kind.as_str(), truth.gpu, truth.from_ms, truth.until_ms), (kind.as_str(), Some(3), 1_000, Some(11_000)));
        assert_eq!((truth.cause, truth.target.as_str()), (FaultCause::Ordered, "gpu-node-01"));
        node.finish(1);
        assert_eq!(node.check(&assignment(3, &[3])), Err(Refusal::OutOfService));
        assert_eq!(node.check(&assignment(3, &[5])), Ok(()));
        node.sample(2_000);
        let heartbeat = node.heartbeat(2_000).unwrap();
        let out: Vec<bool> = heartbeat.gpus.iter().map(|gpu| gpu.out_of_service).collect();
        assert_eq!(out.iter().filter(|out| **out).count(), 1);
        assert_eq!((out[3], heartbeat.gpus[3].xid), (true, kind.xid()));
        assert_eq!(heartbeat.gpus[3].power_w.is_none(), kind == FaultKind::Xid79, "{kind}: only a GPU off the bus reports nothing");
        let over = node.age(11_000).remove(0);
        assert!(!over.began && over.changes_service && over.truth.id == truth.id && over.truth.until_ms == Some(11_000));
        node.sample(12_000);
        let heartbeat = node.heartbeat(12_000).unwrap();
        assert!(!heartbeat.gpus[3].out_of_service && heartbeat.gpus[3].xid == Some(0) && heartbeat.gpus[3].power_w > Some(0.0));
    }
}

#[test]
fn contained_and_application_errors_hit_one_attempt_and_the_gpu_goes_on() {
    for (kind, expected) in
        [(FaultKind::Xid94, AttemptEnd::Requeued), (FaultKind::Xid13, AttemptEnd::Failed), (FaultKind::Xid31, AttemptEnd::Failed)]
    {
        let mut node = node();
        let (first, second) = (start(&mut node, 1, &[3]), start(&mut node, 2, &[3]));
        let news = node.order(&order(FaultOrderKind::Break(kind), Some(3)), 1_000);
        assert_eq!(news.iter().map(|news| news.began).collect::<Vec<_>>(), [true, false], "{kind} begins and is over");
        assert_eq!((end_of(&first), end_of(&second)), (Some(expected), None));
        assert!(first.get().unwrap().1.starts_with(&format!("{kind} on GPU 3 of gpu-node-01")));
        assert_eq!(node.check(&assignment(3, &[3])), Ok(()));
        node.sample(2_000);
        let gpu = node.heartbeat(2_000).unwrap().gpus[3];
        assert_eq!((gpu.xid, gpu.out_of_service), (kind.xid(), false));
    }
}

#[test]
fn an_nvlink_error_hits_what_spans_gpus_only() {
    let mut node = node();
    let (alone, spanning, elsewhere) = (start(&mut node, 1, &[1]), start(&mut node, 2, &[2, 3]), start(&mut node, 3, &[4, 5]));
    break_with(&mut node, FaultKind::Xid74, Some(3), 1_000);
    assert_eq!((end_of(&alone), end_of(&spanning), end_of(&elsewhere)), (None, Some(AttemptEnd::Requeued), None));
    node.finish(2);
    assert_eq!(node.check(&assignment(4, &[3])), Err(Refusal::OutOfService));
}

#[test]
fn without_a_gpu_the_one_that_is_hit_worst_is_taken() {
    let mut node = node();
    start(&mut node, 1, &[6]);
    start(&mut node, 2, &[6]);
    start(&mut node, 3, &[1, 2]);
    assert_eq!(break_with(&mut node, FaultKind::Xid79, None, 1_000).truth.gpu, Some(6));
    assert_eq!(break_with(&mut node, FaultKind::Xid74, None, 1_000).truth.gpu, Some(1));
    assert_eq!(break_with(&mut node, FaultKind::ThermalThrottle, None, 1_000).truth.gpu, Some(1), "it works most");
}

#[test]
fn conditions_last_as_long_as_their_fault() {
    let mut node = node();
    break_with(&mut node, FaultKind::Slow, None, 1_000);
    break_with(&mut node, FaultKind::WrongResult, Some(2), 1_000);
    assert!(
        node.hosted.conditions.slow_factor(&[0]) == 4.0
            && node.hosted.conditions.computes_wrong(&[2])
            && !node.hosted.conditions.computes_wrong(&[1])
    );
    break_with(&mut node, FaultKind::Hang, None, 2_000);
    assert!(node.hosted.conditions.slow_factor(&[0]) == 1.0 && node.hosted.conditions.is_hung(), "one fault of the node at a time");
    node.order(&order(FaultOrderKind::Restore, None), 3_000);
    assert!(!node.hosted.conditions.is_hung() && !node.hosted.conditions.computes_wrong(&[2]));
}

#[test]
fn a_gpu_without_cooling_slows_what_runs_on_it() {
    let mut node = node();
    start(&mut node, 1, &[1, 2]);
    break_with(&mut node, FaultKind::ThermalThrottle, Some(2), 1_000);
    node.sample(1_000);
    node.sample(10_000);
    assert!(node.hosted.conditions.slow_factor(&[2]) > 1.5 && node.hosted.conditions.slow_factor(&[1]) == 1.0);
    let gpus = node.heartbeat(10_000).unwrap().gpus;
    assert!(gpus[2].throttled == Some(true) && gpus[2].temperature_c > Some(80.0) && gpus[1].throttled == Some(false));
}

#[test]
fn a_zombie_says_and_hears_nothing_but_keeps_its_attempts() {
    let mut node = node();
    start(&mut node, 1, &[1]);
    break_with(&mut node, FaultKind::Zombie, None, 1_000);
    assert!(node.heartbeat(1_000).is_none() && !node.agent().0.answers() && node.hosted.conditions.is_cut_off());
    assert_eq!((node.check(&assignment(2, &[5])), node.agent.running()), (Err(Refusal::Down), 1));
    let over = node.age(11_000).remove(0);
    assert!(!over.reborn && node.agent().0.answers() && node.heartbeat(11_000).unwrap().running.len() == 1);
}

#[test]
fn a_crash_drops_everything_and_the_next_life_has_its_gpus_reset() {
    let mut node = node();
    let attempt = start(&mut node, 1, &[1]);
    let news = break_with(&mut node, FaultKind::Crash, None, 1_000);
    break_with(&mut node, FaultKind::Xid48, Some(5), 2_000);
    assert!(news.detail.contains("1 attempt dropped") && end_of(&attempt).is_none());
    assert!(node.agent().0.is_down() && node.agent.running() == 0 && node.heartbeat(1_000).is_none());
    let over = node.age(11_000);
    assert_eq!(over.iter().map(|news| (news.truth.kind.as_str(), news.reborn)).collect::<Vec<_>>(), [("crash", true), ("xid_48", false)]);
    node.sample(11_000);
    assert_eq!((node.agent().0.spec().incarnation, node.heartbeat(11_000).unwrap().gpus[5].xid), (2, Some(0)));
}

/// Real GPUs whose driver reports what the test says.
struct Scripted {
    news: Arc<Mutex<Vec<(u8, GpuNews)>>>,
}

impl DeviceSource for Scripted {
    fn descriptors(&self) -> Vec<GpuDescriptor> {
        SimulatedDevices::of_default_node(1).descriptors()
    }

    fn kind(&self) -> &'static str {
        "nvml"
    }

    fn sample(&mut self, _now_ms: u64, _loads: &[GpuLoad]) -> Vec<GpuTelemetry> {
        vec![GpuTelemetry { memory_total_mib: Some(81_559), power_w: Some(70.0), ..GpuTelemetry::default() }; GPUS]
    }

    fn news(&mut self) -> Vec<(u8, GpuNews)> {
        self.news.lock().unwrap().clone()
    }

    fn slowdown(&self, _gpu: usize) -> f64 {
        1.0
    }
}

#[test]
fn time_passes_for_real_gpus_and_where_something_is_broken() {
    assert!(node_with(Box::new(Scripted { news: Arc::default() })).hosted.ages());
    let mut node = node();
    assert!(!node.hosted.ages(), "no fault by itself, and none ordered");
    break_with(&mut node, FaultKind::Hang, None, 1_000);
    assert!(node.hosted.ages());
    node.age(11_000);
    assert!(!node.hosted.ages());
}

#[test]
fn a_real_gpu_that_is_lost_takes_the_way_of_a_simulated_one() {
    let script = Arc::new(Mutex::new(vec![]));
    let mut node = node_with(Box::new(Scripted { news: Arc::clone(&script) }));
    assert_eq!(node.heartbeat(0).unwrap().gpus[3].xid, None, "a driver that reports no XIDs has not reported 0");
    let (hit, spared) = (start(&mut node, 1, &[3]), start(&mut node, 2, &[4]));
    *script.lock().unwrap() = vec![(3, GpuNews::Lost)];
    let news = node.age(1_000).remove(0);
    assert!(
        news.began && news.changes_service && news.detail == "xid_79 on GPU 3, 1 attempt hit, until the GPU is reset",
        "{}",
        news.detail
    );
    assert_eq!((news.truth.depth, news.truth.cause, news.truth.until_ms), (FaultDepth::Hardware, FaultCause::Observed, None));
    assert_eq!((end_of(&hit), end_of(&spared)), (Some(AttemptEnd::Requeued), None));
    node.finish(1);
    assert_eq!(node.age(2_000), [], "it is still the same fault");
    assert_eq!(node.check(&assignment(3, &[3])), Err(Refusal::OutOfService));
    node.sample(2_000);
    let gpu = node.heartbeat(2_000).unwrap().gpus[3];
    assert_eq!((gpu.xid, gpu.out_of_service, gpu.power_w, gpu.memory_total_mib), (Some(79), true, None, Some(81_559)));

    *script.lock().unwrap() = vec![(3, GpuNews::Back)];
    let over = node.age(3_000).remove(0);
    assert!(!over.began && over.truth.id == news.truth.id && over.truth.until_ms == Some(3_000));
    assert_eq!(node.check(&assignment(3, &[3])), Ok(()));
    node.sample(3_000);
    let gpu = node.heartbeat(3_000).unwrap().gpus[3];
    assert_eq!((gpu.xid, gpu.out_of_service, gpu.power_w), (None, false, Some(70.0)));
}

#[test]
fn an_xid_of_a_real_gpu_is_exported_and_an_operator_may_end_its_fault() {
    let script = Arc::new(Mutex::new(vec![]));
    let mut node = node_with(Box::new(Scripted { news: Arc::clone(&script) }));
    *script.lock().unwrap() = vec![(2, GpuNews::Xid(48)), (5, GpuNews::Xid(43))];
    let began = node.age(1_000);
    assert_eq!(began.iter().map(|news| news.truth.kind.as_str()).collect::<Vec<_>>(), ["xid_48"], "43 stands for no fault");
    *script.lock().unwrap() = vec![];
    node.sample(1_000);
    let gpus = node.heartbeat(1_000).unwrap().gpus;
    assert_eq!([gpus[2].xid, gpus[5].xid, gpus[0].xid], [Some(48), Some(43), None]);
    assert!(gpus[2].out_of_service && !gpus[5].out_of_service);
    let over = node.order(&order(FaultOrderKind::Restore, Some(2)), 2_000);
    assert!(!over[0].began && node.check(&assignment(1, &[2])) == Ok(()));
}
