//! A made-up cluster for the tests of `top`.

use faultline_engine::job::{JobId, Priority};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry, Health, NodeSpec};
use faultline_protocol::messages::{Asked, ClusterStats, InForce, JobState, JobView, LedgerSnapshot, NodeView};

use faultline_protocol::views::RateView;

use super::state::Snapshot;

/// 01:02:03 UTC.
pub(super) const NOW_MS: u64 = 3_723_000;

pub(crate) fn node(number: u32, health: Health) -> NodeView {
    let gpu = GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_920 };
    let is_alive = health == Health::Alive;
    NodeView {
        spec: NodeSpec {
            node: format!("gpu-node-{number:02}"),
            worker: format!("worker-{number:02}"),
            incarnation: 1,
            gpus: vec![gpu.clone(), gpu],
            rack: "rack-1".into(),
            slots: 16,
            kinds: vec!["sleep".into()],
            fault_percent_per_min: 0.0,
            telemetry_source: "simulated".into(),
            gpu_problem: None,
        },
        health,
        draining: number == 3,
        gpu_used_milli: vec![if is_alive { 100 * number } else { 0 }, 0],
        gpu_reserved_mib: vec![0, 0],
        running: vec![],
        telemetry: if is_alive {
            vec![GpuTelemetry { temperature_c: Some(40.0 + number as f32), ..GpuTelemetry::default() }; 2]
        } else {
            vec![]
        },
        heartbeat_age_ms: Some(if is_alive { 340 } else { 12_000 }),
        verdict: None,
    }
}

pub(super) fn job(number: u64, state: JobState) -> JobView {
    JobView {
        id: JobId::new(NOW_MS - 1_000 * number, number.into()),
        name: format!("sleep-normal-{number:04}"),
        kind: "sleep".into(),
        priority: Priority::Normal,
        state,
        submitted_at_ms: NOW_MS - 1_000 * number,
        ended_at_ms: None,
        demand: None,
        node: (state == JobState::Running).then(|| "gpu-node-01".to_owned()),
        progress_permille: if state == JobState::Running { 420 } else { 0 },
        failures: u32::from(number == 2),
        requeues: 0,
        attempts: vec![],
        result: String::new(),
        reason: String::new(),
        waiting: None,
        submission: None,
    }
}

pub(super) fn snapshot(nodes: Vec<NodeView>, jobs: Vec<JobView>) -> Snapshot {
    let stats = ClusterStats {
        leader: "scheduler-1".into(),
        epoch: 7,
        leader_since_ms: NOW_MS - 243_000,
        nodes_alive: 3,
        nodes_dead: 1,
        nodes_draining: 1,
        gpus_total: 8,
        gpu_used_milli: 600,
        queued_held: 1,
        running: 2,
        requeued_total: 4,
        ledger: LedgerSnapshot { committed: 1_234, dead: 2, ..LedgerSnapshot::default() },
        ..ClusterStats::default()
    };
    let rate = faultline_protocol::messages::RateSetting { asked: Asked::Rate(10.0), set_by: "cli".into(), at_ms: 0 };
    Snapshot { at_ms: NOW_MS, stats, rate: RateView::new(Some(&rate), Some(&in_force(10.0))), nodes, jobs }
}

/// What a generator says that submits so many jobs a minute.
pub(super) fn in_force(jobs_per_minute: f64) -> InForce {
    let weights = faultline_engine::workload::WorkloadConfig::default().to_weights();
    InForce {
        jobs_per_minute,
        load_percent: None,
        gpus: 0,
        capped: false,
        rate_revision: 1,
        rate_refused: None,
        weights,
        mix_revision: 0,
        mix_refused: None,
        at_ms: NOW_MS,
    }
}

/// Four nodes, one of them dead and one draining, and three jobs.
pub(super) fn small() -> Snapshot {
    let nodes = vec![node(1, Health::Alive), node(2, Health::Dead), node(3, Health::Alive), node(4, Health::Alive)];
    snapshot(nodes, vec![job(3, JobState::Running), job(2, JobState::Running), job(1, JobState::Queued)])
}
