//! One filled message of each kind, the same for ever: what the golden files say. A field that is added later gets its
//! default here, because the old files do not have it; a value that is there already never changes.

mod chaos;
mod explain;
mod goodput;
mod sample;

use std::collections::BTreeMap;

use faultline_engine::fault::FaultKind;
use faultline_engine::job::{
    Assignment, AttemptId, AttemptOutcome, AttemptSummary, Demand, EndedAttempt, JobId, JobSpec, JobState, Origin, Param, Params, Priority,
    RunningAttempt, Submission, Told,
};
use faultline_engine::ledger::Anchor;
use faultline_engine::ledger::queue::QueueBook;
use faultline_engine::ledger::stores::{Change, Setback, Sight};
use faultline_engine::node::{GpuDescriptor, GpuTelemetry, Health, NodeSpec};
use faultline_engine::scheduler::{ProgramStanding, ProgramState, Reject, RejectReason, WhyWaiting};
use faultline_protocol::messages::{
    Asked, AssignBatch, CancelAnswer, CancelOutcome, CancelReply, CancelRequest, ClusterEvent, ClusterStats, DeadLetter, DemoScene,
    DrainSetting, EndedBatch, EpochRefused, EventBatch, EventKind, FaultCause, FaultDepth, FaultOrder, FaultOrderKind, FaultTruth, Goodbye,
    Heartbeat, InForce, JobView, KillAttempts, KindMix, LeaseRecord, LedgerSnapshot, LedgerState, Level, NodeRegistration, NodeSync,
    NodeSyncPart, NodeView, OpenMarker, Ping, Pong, Query, QueryReply, QueuedJob, RateSetting, RunningBrief, SyncOrder, TerminalRecord,
    Verdict, WorkerSync,
};

pub(crate) use sample::Sample;
use sample::{T, former, sample};

fn job_id() -> JobId {
    JobId::new(T, 0x0123_4567_89ab_cdef_0123)
}

fn attempt_id() -> AttemptId {
    AttemptId::new(T + 40, 0x0fed_cba9_8765_4321_0fed)
}

fn spec() -> JobSpec {
    JobSpec {
        id: job_id(),
        name: "gpu-algebra-5678".into(),
        kind: "matrix".into(),
        params: Params::from([
            ("hold_ms".into(), Param::Int(1_500)),
            ("scale".into(), Param::Float(0.5)),
            ("size".into(), Param::Int(512)),
            ("tag".into(), Param::Text("münchen".into())),
            ("verify".into(), Param::Bool(true)),
        ]),
        priority: Priority::Urgent,
        demand: Demand { gpu_milli: 2_000, gpu_memory_mib: 40_960, models: vec!["H100-80GB".into(), "A100-40GB".into()] },
        expected_ms: 1_500,
        timeout_ms: 30_000,
        max_retries: 3,
        submitted_at_ms: T,
        origin: Default::default(),
    }
}

fn resubmitted() -> JobSpec {
    let first = JobId::new(T - 90_000, 0x1234);
    JobSpec { origin: Origin { by: "command, user ann@login-1".into(), resubmitted_from: Some(first) }, ..spec() }
}

fn lost_attempt() -> AttemptSummary {
    AttemptSummary {
        attempt: AttemptId::new(T + 10, 0x77),
        node: "gpu-node-02".into(),
        incarnation: T - 60_000,
        gpus: vec![0, 3],
        gpu_milli: 0,
        placed_at_ms: T + 10,
        started_at_ms: Some(T + 12),
        ended_at_ms: Some(T + 30),
        outcome: AttemptOutcome::Lost,
        detail: "the node is dead: silent for 5.2 s, phi 11.3".into(),
        why: "least-loaded: 8 of 8 GPUs free".into(),
        choice: None,
    }
}

fn running_attempt() -> AttemptSummary {
    AttemptSummary {
        attempt: attempt_id(),
        node: "gpu-node-01".into(),
        placed_at_ms: T + 40,
        started_at_ms: None,
        ended_at_ms: None,
        outcome: AttemptOutcome::Running,
        detail: String::new(),
        ..lost_attempt()
    }
}

fn assignment() -> Assignment {
    Assignment {
        spec: spec(),
        attempt: attempt_id(),
        node: "gpu-node-01".into(),
        incarnation: T - 60_000,
        gpus: vec![1, 2],
        open_seq: 4_711,
        ack_subject: "$JS.ACK.JOBS.sched-urgent.2.17.9.1767268800010000000.0".into(),
        placed_at_ms: T + 40,
        failures: 1,
        requeues: 1,
        history: vec![lost_attempt()],
        why: "least-loaded: 7 of 8 GPUs free".into(),
        choice: None,
        epoch: 0,
    }
}

fn node_spec() -> NodeSpec {
    NodeSpec {
        node: "gpu-node-01".into(),
        worker: "worker-01".into(),
        incarnation: T - 60_000,
        gpus: vec![
            GpuDescriptor { model: "H100-80GB".into(), memory_mib: 81_559 },
            GpuDescriptor { model: "A100-40GB".into(), memory_mib: 40_960 },
        ],
        rack: "rack-1".into(),
        slots: 16,
        kinds: ["compute", "fault", "matrix", "service", "sleep"].map(String::from).to_vec(),
        fault_percent_per_min: 5.0,
        telemetry_source: "simulated".into(),
        gpu_problem: None,
    }
}

fn telemetry() -> GpuTelemetry {
    GpuTelemetry {
        utilisation_percent: Some(87.5),
        memory_utilisation_percent: Some(43.25),
        memory_used_mib: Some(40_960),
        memory_total_mib: Some(81_559),
        temperature_c: Some(66.5),
        memory_temperature_c: Some(71.0),
        power_w: Some(612.5),
        energy_j: Some(123_456.75),
        sm_clock_mhz: Some(1_980),
        memory_clock_mhz: Some(2_619),
        throttled: Some(true),
        xid: Some(79),
        out_of_service: false,
    }
}

/// A GPU whose every reading is 0, as the first version of the messages told one that cannot be read.
fn zeros() -> GpuTelemetry {
    GpuTelemetry {
        utilisation_percent: Some(0.0),
        memory_utilisation_percent: Some(0.0),
        memory_used_mib: Some(0),
        memory_total_mib: Some(0),
        temperature_c: Some(0.0),
        memory_temperature_c: Some(0.0),
        power_w: Some(0.0),
        energy_j: Some(0.0),
        sm_clock_mhz: Some(0),
        memory_clock_mhz: Some(0),
        throttled: Some(false),
        xid: Some(0),
        out_of_service: false,
    }
}

fn brief() -> RunningBrief {
    RunningBrief { attempt: attempt_id(), job: job_id(), progress_permille: 333, epoch: 0 }
}

fn verdict() -> Verdict {
    Verdict {
        node: "gpu-node-02".into(),
        worker: "worker-02".into(),
        incarnation: T - 60_000,
        health: Health::Dead,
        detector: "phi-accrual".into(),
        phi: 11.25,
        silence_ms: 5_200,
        evidence: "silent for 5.2 s, phi 11.3, worker-02 does not answer".into(),
        at_ms: T + 30,
    }
}

fn ledger() -> LedgerSnapshot {
    LedgerSnapshot {
        through_seq: 300,
        submitted: 160,
        committed: 120,
        dead: 11,
        cancelled: 7,
        abandoned: 2,
        duplicates: 0,
        missed: 0,
        at_ms: T,
        vanished: 0,
    }
}

fn ledger_state() -> LedgerState {
    let sight = Sight { made_at_ms: T - 9_000, last_seq: 300, messages: 22 };
    let setback = Setback {
        store: "RESULTS".into(),
        change: Change::WentBack,
        from_seq: 310,
        to_seq: 290,
        messages: 20,
        at_ms: T - 5_000,
        whole_at_ms: 0,
    };
    LedgerState {
        counts: LedgerSnapshot { vanished: 3, ..ledger() },
        version: 17,
        is_whole: true,
        unqueued: 2,
        restated: -1,
        forgotten: 0,
        results: Some(sight),
        anchor: Some(Anchor { seq: 299, stored_at_ms: T - 1 }),
        queue: QueueBook { sight: Some(sight), offset: -4, is_measured: true, extra: 1, extras: [7].into() },
        lost: 1,
        lost_jobs: vec![job_id()],
        unnamed: 1,
        suspects: vec![job_id()],
        setbacks: vec![setback],
    }
}

/// Every message; the first of each kind is the file that carries the kind's name alone.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = jobs();
    all.extend(work_and_nodes());
    all.extend(control());
    all.extend(queries());
    all.extend(chaos::all());
    all
}

fn jobs() -> Vec<Sample> {
    let record = TerminalRecord {
        job: job_id(),
        name: spec().name,
        kind: spec().kind,
        priority: Priority::Urgent,
        state: JobState::Committed,
        attempt: Some(attempt_id()),
        open_seq: 4_711,
        submitted_at_ms: T,
        ended_at_ms: T + 1_600,
        result: "512 x 512, verified with 8 rounds".into(),
        reason: String::new(),
        failures: 1,
        requeues: 1,
        history: vec![lost_attempt(), AttemptSummary { outcome: AttemptOutcome::Committed, ..running_attempt() }],
        submission: None,
    };
    let told = TerminalRecord { submission: Some(Submission::for_record(&resubmitted())), ..record.clone() };
    let dead = TerminalRecord {
        state: JobState::Dead,
        attempt: None,
        result: String::new(),
        reason: "failed 4 times, 3 retries were allowed".into(),
        ..record.clone()
    };
    let letter = DeadLetter {
        id: job_id().to_string(),
        subject: format!("job.q.urgent.matrix.{}", job_id()),
        reason: "failed 4 times, 3 retries were allowed".into(),
        last_error: "the product does not verify".into(),
        at_ms: T + 1_600,
        spec: Some(spec()),
        body_start: Vec::new(),
    };
    let poison = DeadLetter {
        id: "seq-17".into(),
        reason: "undecodable: the header is missing".into(),
        last_error: String::new(),
        spec: None,
        body_start: vec![0xc1, 0, 255],
        ..letter.clone()
    };
    let event = ClusterEvent {
        at_ms: T + 30,
        service: "scheduler-1".into(),
        level: Level::Warn,
        kind: EventKind::AttemptLost,
        job: Some(job_id()),
        attempt: Some(attempt_id()),
        node: Some("gpu-node-02".into()),
        detail: "the node is dead".into(),
        failures: 1,
        requeues: 1,
        history: vec![lost_attempt()],
        fault: None,
        retry_at_ms: None,
        no_retry: false,
        moved_by_ms: None,
    };
    let truth = FaultTruth {
        id: "01KDWPBPXV0000000000000079".into(),
        kind: "xid_79".into(),
        depth: FaultDepth::Simulated,
        target: "gpu-node-02".into(),
        gpu: Some(3),
        from_ms: T,
        until_ms: Some(T + 10_000),
        cause: FaultCause::Correlated,
        domain: Some("rack-1".into()),
        by: String::new(),
    };
    let ordered = FaultTruth { cause: FaultCause::Ordered, domain: None, by: "`faultline fault`, user ann".into(), ..truth.clone() };
    let ordered = ClusterEvent {
        fault: Some(ordered),
        ..ClusterEvent::new(
            T,
            "worker-02",
            Level::Error,
            EventKind::FaultBegan,
            "xid_79 for 10.0 s, ordered by `faultline fault`, user ann",
        )
    };
    let broken = ClusterEvent {
        node: Some("gpu-node-02".into()),
        fault: Some(truth),
        ..ClusterEvent::new(T, "worker-02", Level::Error, EventKind::FaultBegan, "xid_79 for 10.0 s")
    };
    let about_nothing = ClusterEvent::new(T, "scheduler-1", Level::Info, EventKind::LeaderElected, "scheduler-1 leads, epoch 3");
    vec![
        sample("", OpenMarker { job: job_id(), name: spec().name, kind: spec().kind, priority: Priority::Urgent, submitted_at_ms: T }),
        sample("", QueuedJob { spec: spec() }),
        sample("origin", QueuedJob { spec: resubmitted() }),
        sample("", record),
        sample("submission", told),
        sample("dead", dead),
        sample("", letter),
        sample("poison", poison),
        sample("", ledger()),
        sample("", ledger_state()),
        sample("", EventBatch { events: vec![event, about_nothing] }),
        sample("fault", EventBatch { events: vec![broken] }),
        sample("ordered", EventBatch { events: vec![ordered] }),
    ]
}

/// As a worker says it that tells for how long its attempts have run.
fn with_elapsed(mut sync: NodeSync, elapsed_ms: u64) -> NodeSync {
    sync.running[0].elapsed_ms = Some(elapsed_ms);
    sync
}

fn work_and_nodes() -> Vec<Sample> {
    let ended = EndedAttempt {
        job: job_id(),
        attempt: attempt_id(),
        node: "gpu-node-01".into(),
        outcome: AttemptOutcome::Failed,
        detail: "the product does not verify".into(),
        at_ms: T + 1_600,
        retry_delay_ms: 750,
        told: Told::ByWorker,
        row: None,
        ran_ms: None,
    };
    let unanswered = EndedAttempt { outcome: AttemptOutcome::Lost, told: Told::Unanswered, retry_delay_ms: 0, ..ended.clone() };
    let sync = NodeSync {
        node: "gpu-node-01".into(),
        incarnation: T - 60_000,
        running: vec![RunningAttempt { assignment: assignment(), started_at_ms: T + 42, elapsed_ms: None }],
        part: NodeSyncPart::default(),
    };
    let second_part = NodeSync { part: NodeSyncPart { answer: 4, index: 1, of: 3 }, ..sync.clone() };
    let heartbeat = Heartbeat {
        node: "gpu-node-01".into(),
        worker: "worker-01".into(),
        incarnation: T - 60_000,
        seq: 61,
        sent_at_ms: T,
        running: vec![brief()],
        gpus: vec![telemetry(), zeros()],
        leaving: true,
    };
    vec![
        sample("", AssignBatch { epoch: 3, assignments: vec![assignment()] }),
        former("traceparent", AssignBatch { epoch: 3, assignments: vec![assignment()] }),
        sample("", EndedBatch { worker: "worker-01".into(), ended: vec![ended.clone()] }),
        sample("ran", EndedBatch { worker: "worker-01".into(), ended: vec![EndedAttempt { ran_ms: Some(1_580), ..ended }] }),
        sample("unanswered", EndedBatch { worker: "worker-01".into(), ended: vec![unanswered] }),
        sample("", WorkerSync { worker: "worker-01".into(), epoch: 3, nodes: vec![sync.clone()], refused: None }),
        former("traceparent", WorkerSync { worker: "worker-01".into(), epoch: 3, nodes: vec![sync.clone()], refused: None }),
        sample("elapsed", WorkerSync { worker: "worker-01".into(), epoch: 3, nodes: vec![with_elapsed(sync, 3_500)], refused: None }),
        sample("part", WorkerSync { worker: "worker-01".into(), epoch: 3, nodes: vec![second_part], refused: None }),
        sample(
            "refused",
            WorkerSync {
                worker: "worker-01".into(),
                epoch: 3,
                nodes: Vec::new(),
                refused: Some(EpochRefused { newest: 232, attempts: vec![attempt_id()] }),
            },
        ),
        sample("", NodeRegistration { spec: node_spec(), registered_at_ms: T - 59_990, life: 0 }),
        sample("life", NodeRegistration { spec: node_spec(), registered_at_ms: T - 59_990, life: 2 }),
        sample(
            "blind",
            NodeRegistration {
                spec: NodeSpec {
                    gpus: vec![],
                    gpu_problem: Some("NVML failed: unknown".into()),
                    telemetry_source: "nvml".into(),
                    ..node_spec()
                },
                registered_at_ms: T - 59_990,
                life: 0,
            },
        ),
        // Of real GPUs: one that leaves readings out, and one that does not answer.
        sample(
            "partial",
            Heartbeat {
                gpus: vec![GpuTelemetry { sm_clock_mhz: None, xid: None, ..telemetry() }, GpuTelemetry::default()],
                ..heartbeat.clone()
            },
        ),
        sample("", heartbeat),
        sample("", Goodbye { node: "gpu-node-01".into(), worker: "worker-01".into(), incarnation: T - 60_000, reason: "stopping".into() }),
        sample("", verdict()),
    ]
}

fn control() -> Vec<Sample> {
    vec![
        sample("", RateSetting { asked: Asked::Rate(12.5), set_by: "cli".into(), at_ms: T }),
        sample("load", RateSetting { asked: Asked::Load(60.0), set_by: "cli".into(), at_ms: T }),
        sample("", KindMix { weights: BTreeMap::from([("compute".into(), 3.0), ("fault".into(), 0.5), ("sleep".into(), 4.0)]) }),
        sample(
            "",
            InForce {
                jobs_per_minute: 2.0,
                load_percent: None,
                gpus: 0,
                capped: false,
                rate_revision: 7,
                rate_refused: Some("2000 jobs a minute is outside 0.1 to 50".into()),
                weights: BTreeMap::from([("sleep".into(), 4.0)]),
                mix_revision: 5,
                mix_refused: None,
                at_ms: T,
            },
        ),
        sample(
            "load",
            InForce {
                jobs_per_minute: 3000.0,
                load_percent: Some(60.0),
                gpus: 5750,
                capped: true,
                rate_revision: 7,
                rate_refused: None,
                weights: BTreeMap::from([("sleep".into(), 4.0)]),
                mix_revision: 5,
                mix_refused: None,
                at_ms: T,
            },
        ),
        sample(
            "",
            DemoScene { number: 2, of: 5, title: "rack-7 dies".into(), text: "kill -9 on worker-07".into(), since_ms: T, your_turn: false },
        ),
        sample("", DrainSetting { reason: "new fans".into(), at_ms: T, by: String::new() }),
        sample("by", DrainSetting { reason: "new fans".into(), at_ms: T, by: "the dashboard".into() }),
        sample("", LeaseRecord { holder: "scheduler-1".into(), at_ms: T, floor: 0 }),
        sample("floor", LeaseRecord { holder: "scheduler-1".into(), at_ms: T, floor: 232 }),
        sample("", Ping { at_ms: T }),
        sample("", Pong { worker: "worker-01".into(), nodes: vec!["gpu-node-01".into()] }),
        sample("", SyncOrder { epoch: 3 }),
        sample("", KillAttempts { epoch: 3, attempts: vec![attempt_id()], reason: "the job was cancelled".into() }),
        sample(
            "",
            FaultOrder {
                node: "gpu-node-01".into(),
                kind: FaultOrderKind::Break(FaultKind::HeartbeatLoss),
                for_ms: 20_000,
                factor: 2.5,
                gpu: None,
                by: String::new(),
            },
        ),
        sample(
            "gpu",
            FaultOrder {
                node: "gpu-node-01".into(),
                kind: FaultOrderKind::Break(FaultKind::Xid79),
                for_ms: 20_000,
                factor: 1.0,
                gpu: Some(3),
                by: String::new(),
            },
        ),
        sample(
            "restore",
            FaultOrder { node: "gpu-node-01".into(), kind: FaultOrderKind::Restore, for_ms: 0, factor: 1.0, gpu: None, by: String::new() },
        ),
        sample(
            "by",
            FaultOrder {
                node: "gpu-node-01".into(),
                kind: FaultOrderKind::Break(FaultKind::Crash),
                for_ms: 10_000,
                factor: 1.0,
                gpu: None,
                by: "the dashboard".into(),
            },
        ),
    ]
}

fn stats() -> ClusterStats {
    ClusterStats {
        leader: "scheduler-1".into(),
        epoch: 3,
        leader_since_ms: T - 50_000,
        policy: "least-loaded".into(),
        nodes_alive: 6,
        nodes_suspect: 1,
        nodes_gone: 1,
        nodes_dead: 1,
        nodes_draining: 2,
        gpus_total: 44,
        gpu_used_milli: 12_600,
        queued_in_stream: 31,
        queued_held: 12,
        running: 20,
        placed_total: 170,
        requeued_total: 9,
        retried_total: 21,
        requeue_p50_ms: 4_900,
        requeue_p95_ms: 5_600,
        recovery_p50_ms: 35,
        recovery_p95_ms: 410,
        violations_total: 0,
        refused_total: 0,
        refusal: String::new(),
        last_violation: String::new(),
        policy_program: None,
        ledger: ledger(),
        at_ms: T,
    }
}

fn stats_of_program() -> ClusterStats {
    let standing = ProgramStanding {
        name: "emptiest".into(),
        state: ProgramState::Silent,
        since_ms: T - 4_000,
        fallback: "least-loaded".into(),
        why: "no program listens on policy.emptiest".into(),
        requests: 212,
        failures: 3,
        placed: 160,
        left_waiting: 2,
        late: 4,
        wrong: 1,
        last_wrong: "node 77 was chosen for a task that does not fit there".into(),
        placed_by_fallback: 10,
        answer_p50_ms: 1,
        answer_p95_ms: 3,
    };
    ClusterStats { policy: "service:emptiest".into(), policy_program: Some(standing), ..stats() }
}

fn queries() -> Vec<Sample> {
    let node = NodeView {
        spec: node_spec(),
        health: Health::Suspect,
        draining: true,
        gpu_used_milli: vec![1_000, 100],
        gpu_reserved_mib: vec![40_960, 64],
        running: vec![brief()],
        telemetry: vec![telemetry()],
        heartbeat_age_ms: Some(1_830),
        verdict: Some(verdict()),
    };
    let why = WhyWaiting {
        since_ms: T,
        rejects: vec![Reject { reason: RejectReason::GpuShareTaken, nodes: 6 }, Reject { reason: RejectReason::NotAlive, nodes: 2 }],
        summary: "6 nodes: GPU share taken; 2 nodes: not alive".into(),
        place: None,
    };
    let job = JobView {
        id: job_id(),
        name: spec().name,
        kind: spec().kind,
        priority: Priority::Urgent,
        state: JobState::Queued,
        submitted_at_ms: T,
        ended_at_ms: None,
        demand: Some(spec().demand),
        node: Some("gpu-node-02".into()),
        progress_permille: 333,
        failures: 1,
        requeues: 1,
        attempts: vec![lost_attempt()],
        result: String::new(),
        reason: String::new(),
        waiting: Some(why),
        submission: None,
    };
    let explained = explain::all(assignment(), job.clone());
    let told = job.clone().with_submission(Some(Submission::from(&resubmitted())));
    let answer = CancelAnswer { job: job_id(), outcome: CancelOutcome::AlreadyEnded, detail: "it is committed already".into() };
    let mut all = vec![
        sample("", Query::Jobs { after: Some(job_id()), limit: 200 }),
        sample("stats", Query::Stats),
        sample("nodes", Query::Nodes { after: None, limit: 50 }),
        sample("node", Query::Node { node: "gpu-node-01".into() }),
        sample("job", Query::Job { job: job_id() }),
        sample("", QueryReply::Stats(Box::new(stats()))),
        sample("policy-program", QueryReply::Stats(Box::new(stats_of_program()))),
        sample("nodes", QueryReply::Nodes(vec![node])),
        sample("jobs", QueryReply::Jobs(vec![job])),
        sample("job", QueryReply::Jobs(vec![told])),
        sample("error", QueryReply::Error("no such node".into())),
        sample("", CancelRequest { jobs: vec![job_id()], by: "cli".into() }),
        sample("", CancelReply { answers: vec![answer] }),
    ];
    all.extend(explained);
    all.extend(goodput::all());
    all
}
