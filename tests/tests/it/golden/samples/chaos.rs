//! The messages of experiments, and of the processes that `up` runs.

use faultline_protocol::messages::{
    ChaosAbort, ChaosBaseline, ChaosKind, ChaosKindInfo, ChaosList, ChaosListQuery, ChaosOutcome, ChaosPhase, ChaosProgress, ChaosReply,
    ChaosReport, ChaosRequest, ChaosSample, ClauseResult, KillReply, KillRequest, Level, LogLine, Measurements, PhaseFigures, ProcessBack,
    ProcessSignalled, ProcessState, ProcessView, ProcessesQuery, ProcessesReply, Spread,
};

use super::sample::{Sample, T, sample};

const RUN: &str = "01KDWPBPXV0000000000000042";

fn request() -> ChaosRequest {
    ChaosRequest {
        kind: ChaosKind::KillPercent,
        target: "worker-03".into(),
        for_ms: 10_000,
        count: 2,
        percent: 25.0,
        factor: 4.5,
        xid: 79,
        hypothesis: "lost=0,recovery_p99<5s".into(),
        before_ms: Some(5_000),
        after_ms: Some(30_000),
        seed: Some(7),
        wait_whole: false,
        by: "cli".into(),
    }
}

fn progress(report: Option<ChaosReport>) -> ChaosProgress {
    ChaosProgress {
        run: RUN.into(),
        kind: ChaosKind::KillPercent,
        phase: ChaosPhase::During,
        at_ms: T,
        left_ms: 6_000,
        detail: "worker-03 is down".into(),
        sample: Some(ChaosSample {
            at_ms: T,
            phase: ChaosPhase::During,
            jobs_running: 12,
            jobs_queued: 3,
            nodes_alive: 7,
            nodes_known: 8,
            committed: 1_234,
        }),
        report: report.map(Box::new),
    }
}

fn measured() -> Measurements {
    let spread = |p50_ms| Some(Spread { count: 4, p50_ms, p95_ms: p50_ms + 1, p99_ms: p50_ms + 2, max_ms: p50_ms + 3 });
    Measurements {
        from_ms: T,
        to_ms: T + 30_000,
        submitted: 120,
        committed: 100,
        dead: 2,
        cancelled: 1,
        abandoned: 1,
        open: 16,
        lost: Some(0),
        duplicates: 0,
        dead_letters: 3,
        attempts_placed: 130,
        attempts_lost: 9,
        attempts_failed: 4,
        unrecovered: 0,
        faults: 1,
        faults_unnoticed: 0,
        false_verdicts: 1,
        detection: spread(120),
        recovery: spread(340),
        recommit: spread(1_400),
        failover: None,
        latency: spread(900),
        stall_ms: Some(410),
        gpu_s_committed: 40.5,
        gpu_s_used: 44.0,
        goodput: Some(0.92),
        throughput_per_s: 3.25,
    }
}

fn processes() -> ProcessesReply {
    let process = ProcessView {
        name: "scheduler-1".into(),
        state: ProcessState::Running,
        pid: Some(1234),
        uptime_ms: 61_000,
        restarts: 1,
        last_exit: Some("signal 9".into()),
        ready: Some(true),
        note: "leads, epoch 7".into(),
        warnings: 2,
        errors: 0,
    };
    let line = LogLine { process: "scheduler-1".into(), at_ms: T, level: Some(Level::Warn), text: "the lease is late".into() };
    ProcessesReply { processes: vec![process], lines: vec![line], log_dir: "/home/user/logs".into(), uptime_ms: 62_000 }
}

fn report() -> ChaosReport {
    ChaosReport {
        run: RUN.into(),
        request: request(),
        seed: 7,
        outcome: ChaosOutcome::Failed,
        reason: "1 of 2 clauses does not hold".into(),
        started_at_ms: T - 6_000,
        ended_at_ms: T + 30_000,
        targets: vec!["worker-03".into()],
        whole_after_ms: Some(2_400),
        phases: vec![PhaseFigures {
            phase: ChaosPhase::Before,
            from_ms: T - 5_000,
            to_ms: T,
            samples: 5,
            jobs_running: 12.5,
            jobs_queued: 0.5,
            nodes_alive_min: 8,
            nodes_known: 8,
            committed: 17,
            throughput_per_s: 3.4,
        }],
        measured: Some(measured()),
        clauses: vec![ClauseResult { clause: "lost=0".into(), passed: true, measured: "0".into() }],
        baseline: None,
    }
}

pub(super) fn all() -> Vec<Sample> {
    let info = ChaosKindInfo {
        kind: ChaosKind::KillPercent,
        does: "kills a share of the workers".into(),
        target: "worker".into(),
        default_for_ms: 5_000,
        takes: vec!["percent".into()],
    };
    let signalled = ProcessSignalled {
        service: "worker-03".into(),
        signal: "SIGKILL".into(),
        pid: 1234,
        ended_after_ms: Some(2),
        back: Some(ProcessBack { pid: 1300, after_ms: 260 }),
    };
    let baseline = ChaosBaseline { nodes_down: 6, nodes_known: 1_000, examples: vec!["gpu-node-07 is dead".into()] };
    vec![
        sample("", KillRequest { service: "worker-03".into(), by: "the dashboard".into() }),
        sample("", KillReply::Killed(signalled)),
        sample("refused", KillReply::Refused { reason: "worker-03 does not run now".into() }),
        sample("whole", ChaosRequest { wait_whole: true, ..request() }),
        sample("baseline", progress(Some(ChaosReport { baseline: Some(baseline), ..report() }))),
        sample("", request()),
        sample("", ChaosReply::Started { run: RUN.into(), seed: 7 }),
        sample("aborting", ChaosReply::Aborting { run: RUN.into() }),
        sample("refused", ChaosReply::Refused { reason: "another experiment runs".into() }),
        sample("", ChaosAbort { run: Some(RUN.into()), by: "cli".into() }),
        sample("", ChaosListQuery { limit: 20 }),
        sample("", ProcessesQuery { process: Some("worker-03".into()), level: Some(Level::Warn), lines: 100 }),
        sample("", processes()),
        sample("", ChaosList { kinds: vec![info], running: Some(progress(None)), runs: vec![report()] }),
        sample("", progress(Some(report()))),
    ]
}
