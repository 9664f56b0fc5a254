//! Breaking things by way of `faultline up`, which has the processes: a kill on `chaos.kill`, and experiments, which operators ask for on
//! `chaos.run`, `chaos.abort` and `chaos.list`: what `up` answers, what it publishes on `chaos.progress.<run>` while one runs, and the figures that come of it. The REST API shows the same types.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::codec::message;

/// What an experiment breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChaosKind {
    KillBusyWorker,
    KillPercent,
    KillService,
    KillNats,
    Freeze,
    Partition,
    SlowLink,
    Slow,
    Crash,
    Hang,
    HeartbeatLoss,
    Zombie,
    GpuError,
}

impl ChaosKind {
    pub const ALL: [ChaosKind; 13] = [
        Self::KillBusyWorker,
        Self::KillPercent,
        Self::KillService,
        Self::KillNats,
        Self::Freeze,
        Self::Partition,
        Self::SlowLink,
        Self::Slow,
        Self::Crash,
        Self::Hang,
        Self::HeartbeatLoss,
        Self::Zombie,
        Self::GpuError,
    ];

    /// The name on the command line, in scenario files and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ChaosKind::KillBusyWorker => "kill-busy-worker",
            ChaosKind::KillPercent => "kill-percent",
            ChaosKind::KillService => "kill-service",
            ChaosKind::KillNats => "kill-nats",
            ChaosKind::Freeze => "freeze",
            ChaosKind::Partition => "partition",
            ChaosKind::SlowLink => "slow-link",
            ChaosKind::Slow => "slow",
            ChaosKind::Crash => "crash",
            ChaosKind::Hang => "hang",
            ChaosKind::HeartbeatLoss => "heartbeat-loss",
            ChaosKind::Zombie => "zombie",
            ChaosKind::GpuError => "gpu-error",
        }
    }

    /// The kind of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// `chaos.kill`, a request: SIGKILL to one process, now, whatever else is broken or under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillRequest {
    /// Its name, such as `worker-03`.
    pub service: String,
    /// Who asks and through what, for the history.
    pub by: String,
}

message!(KillRequest, "kill-request");

/// The answer to `chaos.kill`, once it has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillReply {
    Killed(ProcessSignalled),
    /// Nothing was killed; why, in words.
    Refused {
        reason: String,
    },
}

message!(KillReply, "kill-reply");

/// A signal that was delivered to a process, and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessSignalled {
    pub service: String,
    /// Such as `SIGKILL`.
    pub signal: String,
    /// The process that got it.
    pub pid: u32,
    /// From the signal until that process had ended; none while it has not.
    pub ended_after_ms: Option<u64>,
    /// The process that runs in its place; none while none does.
    pub back: Option<ProcessBack>,
}

/// A process that was started in the place of one that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProcessBack {
    pub pid: u32,
    /// Since the signal that ended the one before.
    pub after_ms: u64,
}

/// `chaos.run`, a request: break something for a while, watch, put it right, judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosRequest {
    pub kind: ChaosKind,
    /// A node, a worker or a service by name; empty or `random`: drawn from the seed.
    #[serde(default)]
    pub target: String,
    /// How long the fault lasts, in milliseconds; 0 for the kind's default.
    #[serde(default)]
    pub for_ms: u64,
    /// How many targets are drawn; 0 for one. Not with `target` or `percent`.
    #[serde(default)]
    pub count: u32,
    /// For `kill-percent`: the share of the workers, above 0 and up to 100.
    #[serde(default)]
    pub percent: f64,
    /// For `slow`: how many times slower, 2 to 10; 0 for the default.
    #[serde(default)]
    pub factor: f64,
    /// For `gpu-error`: the XID; 0 for the default.
    #[serde(default)]
    pub xid: u32,
    /// Clauses such as `lost=0,recovery_p99<5s`; empty: nothing is judged but that all is put right.
    #[serde(default)]
    pub hypothesis: String,
    /// How long it is watched before the fault, in milliseconds; none for 5 s.
    #[serde(default)]
    pub before_ms: Option<u64>,
    /// The longest that recovery is waited for after the fault, in milliseconds; none for 60 s.
    #[serde(default)]
    pub after_ms: Option<u64>,
    /// The same seed draws the same targets from the same cluster; none for a random one.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Whether all of the cluster must be whole before it begins and to recover, not only what it breaks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait_whole: bool,
    /// Who asks, for the history.
    pub by: String,
}

message!(ChaosRequest, "chaos-request");

/// The answer to `chaos.run` and `chaos.abort`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChaosReply {
    /// It begins; progress comes on `chaos.progress.<run>`.
    Started { run: String, seed: u64 },
    /// It was told to put everything right and stop.
    Aborting { run: String },
    /// Nothing was touched; why, in words.
    Refused { reason: String },
}

message!(ChaosReply, "chaos-reply");

/// `chaos.abort`, a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChaosAbort {
    /// Only this run; none for whatever runs.
    #[serde(default)]
    pub run: Option<String>,
    pub by: String,
}

message!(ChaosAbort, "chaos-abort");

/// `chaos.list`, a request: the kinds, the run under way, the runs so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChaosListQuery {
    /// The newest runs that are wanted, at most.
    pub limit: u32,
}

message!(ChaosListQuery, "chaos-list-query");

/// One kind of experiment, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosKindInfo {
    pub kind: ChaosKind,
    /// What it does, in a sentence.
    pub does: String,
    /// What a target is: `worker`, `node`, `service` or `nothing`.
    pub target: String,
    pub default_for_ms: u64,
    /// Further parameters that it takes, such as `percent`.
    pub takes: Vec<String>,
}

/// The answer to `chaos.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosList {
    pub kinds: Vec<ChaosKindInfo>,
    /// The newest word on the run under way.
    #[serde(default)]
    pub running: Option<ChaosProgress>,
    /// Runs that have ended since `up` started, the newest first.
    pub runs: Vec<ChaosReport>,
}

message!(ChaosList, "chaos-list");

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChaosPhase {
    /// Is the cluster fit for it?
    Checking,
    /// Watching it undisturbed.
    Before,
    /// The fault is there.
    During,
    /// It was put right; the cluster recovers.
    After,
    /// Over: the report is there.
    Done,
}

impl ChaosPhase {
    pub fn as_str(self) -> &'static str {
        match self {
            ChaosPhase::Checking => "checking",
            ChaosPhase::Before => "before",
            ChaosPhase::During => "during",
            ChaosPhase::After => "after",
            ChaosPhase::Done => "done",
        }
    }
}

/// The cluster at one moment, as its leading scheduler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosSample {
    pub at_ms: u64,
    pub phase: ChaosPhase,
    pub jobs_running: u64,
    pub jobs_queued: u64,
    pub nodes_alive: u32,
    pub nodes_known: u32,
    /// Commits that the ledger has counted since the cluster exists.
    pub committed: u64,
}

/// `chaos.progress.<run>`, plain: may be lost, `chaos.list` has the newest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosProgress {
    pub run: String,
    pub kind: ChaosKind,
    pub phase: ChaosPhase,
    pub at_ms: u64,
    /// Until this phase ends at the latest, in milliseconds.
    pub left_ms: u64,
    /// What happens, in words.
    pub detail: String,
    /// None while no scheduler answers.
    #[serde(default)]
    pub sample: Option<ChaosSample>,
    /// Of the phase `done`.
    #[serde(default)]
    pub report: Option<Box<ChaosReport>>,
}

message!(ChaosProgress, "chaos-progress");

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChaosOutcome {
    /// The cluster recovered and every clause of the hypothesis held.
    Passed,
    /// It did not recover in time, or a clause did not hold.
    Failed,
    /// An operator stopped it; everything was repaired at once.
    Aborted,
    /// The cluster was not fit for it: nothing was broken.
    Refused,
    /// The experiment itself could not be carried out; everything was repaired.
    Broken,
}

impl ChaosOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            ChaosOutcome::Passed => "passed",
            ChaosOutcome::Failed => "failed",
            ChaosOutcome::Aborted => "aborted",
            ChaosOutcome::Refused => "refused",
            ChaosOutcome::Broken => "broken",
        }
    }
}

/// One clause of a hypothesis and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClauseResult {
    /// As written, such as `recovery_p99<5s`.
    pub clause: String,
    pub passed: bool,
    /// The measured value with its unit, or why there is none.
    pub measured: String,
}

/// One part of a run, seen from the samples of that time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseFigures {
    pub phase: ChaosPhase,
    pub from_ms: u64,
    pub to_ms: u64,
    /// How often the scheduler answered; the averages are over these.
    pub samples: u32,
    pub jobs_running: f64,
    pub jobs_queued: f64,
    /// The fewest at once.
    pub nodes_alive_min: u32,
    pub nodes_known: u32,
    /// From the records of the jobs that committed in this time.
    pub committed: u64,
    pub throughput_per_s: f64,
}

/// The report of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChaosReport {
    pub run: String,
    pub request: ChaosRequest,
    pub seed: u64,
    pub outcome: ChaosOutcome,
    /// Why it ended so, in words; empty when there is nothing to add.
    pub reason: String,
    pub started_at_ms: u64,
    pub ended_at_ms: u64,
    /// What was broken, such as `worker-03` or `gpu-node-02`.
    pub targets: Vec<String>,
    /// From the end of the fault until the cluster was whole again, in milliseconds; none when it never was.
    #[serde(default)]
    pub whole_after_ms: Option<u64>,
    pub phases: Vec<PhaseFigures>,
    /// From the fault's beginning to the end of the run; none when nothing was broken.
    #[serde(default)]
    pub measured: Option<Measurements>,
    pub clauses: Vec<ClauseResult>,
    /// What was broken before it began, and is neither counted nor waited for; none when everything was whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<ChaosBaseline>,
}

/// What was not whole before an experiment began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChaosBaseline {
    pub nodes_down: u32,
    pub nodes_known: u32,
    /// The first of those nodes, each with what was wrong, and all processes that did not run.
    pub examples: Vec<String>,
}

/// Percentiles of some durations, in milliseconds, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Spread {
    /// How many there were, at least one.
    pub count: u64,
    pub p50_ms: u64,
    pub p95_ms: u64,
    pub p99_ms: u64,
    pub max_ms: u64,
}

/// What the cluster's history says about a stretch of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measurements {
    pub from_ms: u64,
    pub to_ms: u64,
    /// Jobs submitted in this time.
    pub submitted: u64,
    /// Jobs that ended in this time, by the way they ended.
    pub committed: u64,
    pub dead: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    /// Jobs that are open at the end.
    pub open: u64,
    /// Open jobs that are nowhere: not in JOBS, and surely submitted. None when JOBS could not be looked at.
    pub lost: Option<u64>,
    /// Jobs that ended twice.
    pub duplicates: u64,
    /// Messages that were no jobs, and jobs given up: letters in DEAD.
    pub dead_letters: u64,
    pub attempts_placed: u64,
    /// Taken away because their node or worker was gone.
    pub attempts_lost: u64,
    /// Failed by themselves, or past their time limit.
    pub attempts_failed: u64,
    /// Interrupted attempts whose job was neither placed again nor ended.
    pub unrecovered: u64,
    /// Faults injected in this time.
    pub faults: u64,
    /// Those of a node, or of a worker with nodes, that no verdict followed.
    pub faults_unnoticed: u64,
    /// Verdicts on nodes that had no fault.
    pub false_verdicts: u64,
    /// From a fault's beginning to the first verdict on a node that it affects.
    pub detection: Option<Spread>,
    /// From a fault's beginning to the next placement of a job that lost an attempt by it.
    pub recovery: Option<Spread>,
    /// The same to the job's commit.
    pub recommit: Option<Spread>,
    /// From a fault of the leading scheduler to the next leader.
    pub failover: Option<Spread>,
    /// From submission to commit.
    pub latency: Option<Spread>,
    /// The longest time without a commit, in milliseconds, from the beginning to the last one; none without any.
    pub stall_ms: Option<u64>,
    /// GPU-seconds of attempts that ended in this time: those that committed, and all.
    pub gpu_s_committed: f64,
    pub gpu_s_used: f64,
    /// The first of them divided by the second; none when nothing was used.
    pub goodput: Option<f64>,
    /// Commits a second.
    pub throughput_per_s: f64,
}
