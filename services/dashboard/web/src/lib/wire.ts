// What the service sends and takes: made from docs/openapi.json by the tests of the dashboard. Not to be edited:
// FAULTLINE_UPDATE_GOLDEN=1 cargo nextest run -p faultline-dashboard document

/** May be sent along with an abort. */
export interface AbortRequest {
  /** Only this run; whatever runs when absent. */
  run?: string | null;
}
/** The fault that an attempt broke off by, as it really was. */
export interface AttemptCause {
  attempt: AttemptId;
  /** Which user ordered it and through what; empty when it came by itself. */
  by: string;
  from_ms: number;
  gpu?: number | null;
  /** What was done, to what and by whom, in one line. */
  headline: string;
  /** Such as `kill` or `xid_79`. */
  kind: string;
  /** From the beginning of the fault, or from the attempt's placement when that was later, until the attempt was given up. */
  noticed_after_ms: number;
  /** The node or the process that was broken. */
  target: string;
  /** None while it lasts and no end is planned. */
  until_ms?: number | null;
}
export type AttemptId = string;
/** How one attempt ended, or that it has not. */
export type AttemptOutcome = 'running' | 'committed' | 'failed' | 'timed_out' | 'lost' | 'cancelled' | 'superseded';
/** One row of a job's path. */
export interface AttemptSummary {
  attempt: AttemptId;
  choice?: Choice | null;
  /** Why the attempt ended so, in words; empty when there is nothing to add. */
  detail?: string;
  ended_at_ms?: number | null;
  /** Thousandths of a GPU that it held, over all of them; 0 in records of builds that did not write it. */
  gpu_milli?: number;
  /** Indexes of the GPUs on the node. */
  gpus: number[];
  incarnation: number;
  node: string;
  outcome: AttemptOutcome;
  placed_at_ms: number;
  started_at_ms?: number | null;
  /** Why this node was chosen, in words. Empty on its way over NATS where `choice` says it. */
  why?: string;
}
export type BTreeMap = Record<string, boolean | number | string>;
/** An attempt as a bar. */
export interface Bar {
  attempt: AttemptId;
  cause?: FaultSpan | null;
  /** None while it runs. */
  end_ms?: number | null;
  /** Indexes; empty while unknown. */
  gpus: number[];
  job: JobId;
  kind: string;
  /** Empty while unknown. */
  name: string;
  next_attempt?: AttemptId | null;
  node: string;
  outcome: AttemptOutcome;
  start_ms: number;
}
/** A bucket. */
export interface BucketFigures {
  bytes: number;
  command: string;
  name: string;
  /** Keys with a value, deleted ones that are remembered among them. */
  values: number;
}
/** What became of the jobs that matched. */
export interface BulkCancelled {
  /** They had ended before, or are not known any more. */
  already_ended: number;
  cancelled: number;
  error?: ErrorDetail | null;
  failed: number;
  /** Jobs that matched and were tried. */
  matched: number;
  /** Whether more jobs match: at most 1,000 are cancelled at a time. */
  more: boolean;
}
export interface CancelAnswer {
  detail?: string;
  job: JobId;
  outcome: CancelOutcome;
}
/** Which jobs are cancelled: those that match all that is given, and have not ended. */
export interface CancelFilter {
  /** Must be true when nothing else is given: then all jobs are cancelled. */
  all?: boolean;
  /** Tried at least so often. */
  attempts_min?: number | null;
  kind?: string | null;
  /** A node that it runs or ran on. */
  node?: string | null;
  priority?: Priority | null;
  /** Part of the name or id; case does not matter. */
  q?: string | null;
  state?: JobState | null;
}
export type CancelOutcome = 'cancelled' | 'already_ended' | 'not_found' | 'failed';
/** Rows that are new or different, and those that are no longer there. */
export interface Changes_JobBrief_String {
  changed: {
    ended_at_ms?: number | null;
    id: JobId;
    kind: string;
    name: string;
    node?: string | null;
    /** Why it waits or how it ended, in words. */
    note: string;
    /** The newest 8 steps. */
    path: StepBrief[];
    priority: Priority;
    progress_permille: number;
    state: JobState;
    submitted_at_ms: number;
  }[];
  removed: string[];
}
/** Rows that are new or different, and those that are no longer there. */
export interface Changes_NodeRow_String {
  changed: {
    draining: boolean;
    /** Simulated failures in percent a minute. */
    fail_percent_per_min: number;
    fault?: NodeFault | null;
    /** Of one GPU. */
    gpu_memory_mib: number;
    gpus: number;
    health: Health;
    /** When this row was made; none before the first heartbeat. */
    heartbeat_age_ms?: number | null;
    incarnation: number;
    /** Of its first GPU. */
    model: string;
    node: string;
    /** The detector's suspicion when it last spoke; 0 before. */
    phi: number;
    rack: string;
    running: number;
    /** The first few of them. */
    running_jobs: RunningShown[];
    worker: string;
  }[];
  removed: string[];
}
/** What was not whole before an experiment began. */
export interface ChaosBaseline {
  /** The first of those nodes, each with what was wrong, and all processes that did not run. */
  examples: string[];
  nodes_down: number;
  nodes_known: number;
}
/** What an experiment breaks. */
export type ChaosKind = 'kill-busy-worker' | 'kill-percent' | 'kill-service' | 'kill-nats' | 'freeze' | 'partition' | 'slow-link' | 'slow' | 'crash' | 'hang' | 'heartbeat-loss' | 'zombie' | 'gpu-error';
/** One kind of experiment, for people. */
export interface ChaosKindInfo {
  default_for_ms: number;
  /** What it does, in a sentence. */
  does: string;
  kind: ChaosKind;
  /** Further parameters that it takes, such as `percent`. */
  takes: string[];
  /** What a target is: `worker`, `node`, `service` or `nothing`. */
  target: string;
}
/** How a run ended. */
export type ChaosOutcome = 'passed' | 'failed' | 'aborted' | 'refused' | 'broken';
/** Experiments: what there is, what runs, what came of them. */
export interface ChaosOverview {
  /** False when no `faultline up` answers. */
  available: boolean;
  kinds: ChaosKindInfo[];
  /** Why not, in words. */
  reason?: string | null;
  running?: ChaosProgress | null;
  /** The newest 20 that have ended, newest first. */
  runs: ChaosReport[];
}
/** Where a run stands. */
export type ChaosPhase = 'checking' | 'before' | 'during' | 'after' | 'done';
/** `chaos.progress.<run>`, plain: may be lost, `chaos.list` has the newest. */
export interface ChaosProgress {
  at_ms: number;
  /** What happens, in words. */
  detail: string;
  kind: ChaosKind;
  /** Until this phase ends at the latest, in milliseconds. */
  left_ms: number;
  phase: ChaosPhase;
  report?: ChaosReport | null;
  run: string;
  sample?: ChaosSample | null;
}
/** The report of one run. */
export interface ChaosReport {
  baseline?: ChaosBaseline | null;
  clauses: ClauseResult[];
  ended_at_ms: number;
  measured?: Measurements | null;
  outcome: ChaosOutcome;
  phases: PhaseFigures[];
  /** Why it ended so, in words; empty when there is nothing to add. */
  reason: string;
  request: ChaosRequest;
  run: string;
  seed: number;
  started_at_ms: number;
  /** What was broken, such as `worker-03` or `gpu-node-02`. */
  targets: string[];
  /** From the end of the fault until the cluster was whole again, in milliseconds; none when it never was. */
  whole_after_ms?: number | null;
}
/** `chaos.run`, a request: break something for a while, watch, put it right, judge. */
export interface ChaosRequest {
  /** The longest that recovery is waited for after the fault, in milliseconds; none for 60 s. */
  after_ms?: number | null;
  /** How long it is watched before the fault, in milliseconds; none for 5 s. */
  before_ms?: number | null;
  /** Who asks, for the history. */
  by: string;
  /** How many targets are drawn; 0 for one. Not with `target` or `percent`. */
  count?: number;
  /** For `slow`: how many times slower, 2 to 10; 0 for the default. */
  factor?: number;
  /** How long the fault lasts, in milliseconds; 0 for the kind's default. */
  for_ms?: number;
  /** Clauses such as `lost=0,recovery_p99<5s`; empty: nothing is judged but that all is put right. */
  hypothesis?: string;
  kind: ChaosKind;
  /** For `kill-percent`: the share of the workers, above 0 and up to 100. */
  percent?: number;
  /** The same seed draws the same targets from the same cluster; none for a random one. */
  seed?: number | null;
  /** A node, a worker or a service by name; empty or `random`: drawn from the seed. */
  target?: string;
  /** Whether all of the cluster must be whole before it begins and to recover, not only what it breaks. */
  wait_whole?: boolean;
  /** For `gpu-error`: the XID; 0 for the default. */
  xid?: number;
}
/** The cluster at one moment, as its leading scheduler sees it. */
export interface ChaosSample {
  at_ms: number;
  /** Commits that the ledger has counted since the cluster exists. */
  committed: number;
  jobs_queued: number;
  jobs_running: number;
  nodes_alive: number;
  nodes_known: number;
  phase: ChaosPhase;
}
/** Where experiments stand, as it is pushed. */
export interface ChaosState {
  /** Whether a `faultline up` runs experiments. */
  available: boolean;
  /** Why not, in words. */
  reason?: string | null;
  running?: ChaosProgress | null;
  /** Runs that have ended since `up` started, as far as it keeps them: another number means that there is another report. */
  runs_ended: number;
}
/** Why a node was chosen for an attempt, in numbers. Scores are of the policy: only their order counts. */
export interface Choice {
  /** How many nodes had room for the job. */
  fitting: number;
  /** The score of a node that everything speaks for; 0 where the policy scores all nodes alike. */
  full_score?: number;
  /** How many nodes there were. */
  nodes: number;
  /** The policy in force. */
  policy: string;
  runner_up?: RunnerUp | null;
  /** The node's score before the job was placed there. The highest gets the job. */
  score?: number;
}
/** One class of GPU time. */
export interface ClassTime {
  class: string;
  /** A1 to A4 cannot be used, B1 to B9 are booked, C1 to C9 are free. */
  code: string;
  gpu_seconds: number;
  /** Of all, 0 to 1. */
  share: number;
}
/** One clause of a hypothesis and what was measured. */
export interface ClauseResult {
  /** As written, such as `recovery_p99<5s`. */
  clause: string;
  /** The measured value with its unit, or why there is none. */
  measured: string;
  passed: boolean;
}
/** One thing that happened. */
export interface ClusterEvent {
  at_ms: number;
  attempt?: AttemptId | null;
  /** In words, for people. */
  detail: string;
  /** For events of a job: how often it has failed and been requeued so far. A new leader reads them back. */
  failures?: number;
  fault?: FaultTruth | null;
  history?: AttemptSummary[];
  job?: JobId | null;
  kind: EventKind;
  level: Level;
  /** Set by readers, see [`EventBatch::anchored`]: the service's clock was off, and the times above were moved by this many milliseconds. */
  moved_by_ms?: number | null;
  /** For a failed attempt: no retry would help. */
  no_retry?: boolean;
  node?: string | null;
  requeues?: number;
  /** For a failed attempt: the job is not to be tried again before this. */
  retry_at_ms?: number | null;
  /** The service that saw it, such as `scheduler` or `worker-03`. */
  service: string;
}
/** Figures of the whole cluster. */
export interface ClusterStats {
  at_ms: number;
  epoch: number;
  gpu_used_milli: number;
  gpus_total: number;
  last_violation?: string;
  leader: string;
  leader_since_ms: number;
  ledger: LedgerSnapshot;
  nodes_alive: number;
  nodes_dead: number;
  nodes_draining: number;
  nodes_gone: number;
  nodes_suspect: number;
  placed_total: number;
  policy: string;
  policy_program?: ProgramStanding | null;
  /** Jobs pulled and waiting for room. */
  queued_held: number;
  /** Jobs in JOBS that no scheduler has pulled yet. */
  queued_in_stream: number;
  /** The reaction: from the verdict that interrupted an attempt to the next placement of its job, over the last 1,000, in milliseconds. Called
   * recovery before that word was kept for the time from the fault on. */
  recovery_p50_ms: number;
  recovery_p95_ms: number;
  /** Which worker refuses this leader now, and why; empty when none does. */
  refusal?: string;
  /** What workers refused of this leader since its election, because they had heard of a higher epoch. */
  refused_total?: number;
  /** Time from the last sign of life to the requeue, over the last 1,000 interrupted attempts, in milliseconds. */
  requeue_p50_ms: number;
  requeue_p95_ms: number;
  /** Attempts that were interrupted. */
  requeued_total: number;
  retried_total: number;
  running: number;
  /** Invariants that this leader found broken since its election, and the last of them in words. */
  violations_total?: number;
}
/** The points as columns, oldest first, and what happened meanwhile. */
export interface Columns {
  arrivals_per_s: number[];
  completions_per_s: number[];
  gpu_allocated_percent: (number | null)[];
  gpu_utilisation_percent: (number | null)[];
  /** Faults and verdicts, changes of leader and rate. */
  markers: Marker[];
  nodes_alive: number[];
  queue: number[];
  running: number[];
  t_ms: number[];
  temperature_max_c: (number | null)[];
  temperature_mean_c: (number | null)[];
}
/** A consumer. */
export interface ConsumerFigures {
  /** Messages delivered and not acknowledged yet. */
  ack_pending: number;
  command: string;
  is_durable: boolean;
  name: string;
  /** Messages that it has not delivered yet. */
  pending: number;
  /** Of those, how many were delivered more than once. */
  redelivered: number;
  /** Pull requests that wait for messages. */
  waiting: number;
}
/** What changed since the message before. Parts that are absent are as they were. */
export interface Delta {
  chaos?: ChaosState | null;
  demo?: DemoState | null;
  /** At most 40, the newest, oldest first. */
  events?: NumberedEvent[];
  /** With `events`: the number of the last event before them. A page that does not have that one missed some. */
  events_after?: number | null;
  /** All of the state's, when any is new or different. */
  incidents?: IncidentView[] | null;
  jobs?: Changes_JobBrief_String | null;
  node_index?: number | null;
  nodes?: Changes_NodeRow_String | null;
  nodes_by_rest?: boolean | null;
  point?: SeriesPoint | null;
  rate?: RateView | null;
  stats?: StatsReply | null;
}
/** What a job asks of the GPUs of one node. */
export interface Demand {
  /** GPU memory in MiB, on each GPU that the job gets. */
  gpu_memory_mib?: number;
  /** Thousandths of a GPU. Below 1000: a share of one GPU; from 1000 on: whole GPUs only; 0: no GPU at all. */
  gpu_milli: number;
  /** Acceptable GPU models; empty means any. */
  models?: string[];
}
/** KV CONTROL `demo`: what `faultline demo` shows now, for the page. The key is there in the demo's own cluster only. */
export interface DemoScene {
  /** From 1. */
  number: number;
  of: number;
  /** When the demo began: incidents since then are its own. */
  since_ms: number;
  text: string;
  title: string;
  /** The viewer is asked to break something. */
  your_turn: boolean;
}
/** The demo that runs on this cluster, if one does. */
export interface DemoState {
  /** Jobs that were interrupted since it began. */
  interrupted: number;
  /** Of those: placed again, or ended. */
  moved: number;
  scene?: DemoScene | null;
}
/** Figures that are derived from what many messages said. */
export interface Derived {
  /** Attempts that their node took with it, since the scheduler leads; as `requeued_total`. */
  attempts_interrupted: number;
  /** Attempts that were interrupted and attempts that failed, since the scheduler leads. */
  attempts_repeated: number;
  /** Jobs whose commit was seen here in the last 60 s. */
  committed_last_minute: number;
  /** From the beginning of a fault to the first verdict on its node, over the last 1,000 that were noticed; none
   * before the first. Measured against the truth of the faults, so only for those that were put there on purpose. */
  detection_p50_ms?: number | null;
  detection_p95_ms?: number | null;
  /** Booked GPUs by all GPUs, 0 to 100; none while no scheduler answers. */
  gpu_allocated_percent?: number | null;
  /** Mean over the GPUs of all nodes that are heard, 0 to 100. */
  gpu_utilisation_percent?: number | null;
  /** Ends of a job that had ended already, by the ledger. */
  jobs_ended_twice: number;
  /** Jobs that failed too often, or that no node can run; as `ledger.dead`. */
  jobs_given_up: number;
  /** Jobs that have not ended by the ledger and are not in the queue either, and were so for 150 s; none until the
   * same scheduler was asked for that long, or, when no job is missing, for 10 s. `faultline audit` names them. */
  jobs_lost?: number | null;
  /** Nodes that have been silent for more than 20 s and are alive by their last verdict: the fault detector may not run. */
  nodes_unjudged: number;
  /** How long the oldest job that waits has waited; none when none waits. */
  oldest_queued_age_ms?: number | null;
  /** From the verdict on a node to the next placement of a job that it ran, over the last 1,000; as `recovery_p50_ms`. None before the first. */
  reaction_p50_ms?: number | null;
  reaction_p95_ms?: number | null;
  /** From the beginning of a fault to the next placement of a job that it interrupted, over the last 1,000; none before the first. Measured
   * against the truth of the faults, so only for those that were put there on purpose. */
  recovery_from_fault_p50_ms?: number | null;
  recovery_from_fault_p95_ms?: number | null;
  /** Jobs submitted in the last 60 s: the rate that was achieved. */
  submitted_last_minute: number;
}
/** May be sent along with a drain. */
export interface DrainRequest {
  /** For people, at most 200 characters. */
  reason?: string | null;
}
/** Whether a node is drained. */
export interface DrainView {
  /** Whether nothing new is to be placed there; what runs goes on to its end. */
  draining: boolean;
  /** Whether the leading scheduler says so too. If not, the setting is stored, and holds as soon as a scheduler that knows the node leads. */
  in_force: boolean;
  node: string;
  /** Why; present while it is drained. */
  reason?: string | null;
}
/** The body of every answer that is not a success. */
export interface ErrorBody {
  error: ErrorDetail;
}
/** What went wrong, for programs (`code`, `field`) and for people (`message`, `remedy`). */
export interface ErrorDetail {
  /** Stable, in snake case, such as `not_found`. */
  code: string;
  /** The parameter or the field of the body that is wrong. */
  field?: string | null;
  message: string;
  /** What to do about it. */
  remedy?: string | null;
}
export type EventKind = 'job_placed' | 'attempt_failed' | 'attempt_lost' | 'attempt_superseded' | 'job_dead' | 'job_cancelled' | 'job_abandoned' | 'node_joined' | 'node_left' | 'node_suspect' | 'node_gone' | 'node_dead' | 'node_recovered' | 'node_drained' | 'node_undrained' | 'fault_began' | 'fault_ended' | 'leader_elected' | 'leader_lost' | 'rate_changed' | 'workers_scaled' | 'invariant_violated' | 'repaired' | 'policy_failed' | 'policy_recovered';
/** A page of events, oldest first. */
export interface EventsPage {
  /** True when `after` is of a history that has ended, since the stream EVENTS was made anew or an older copy of it put back. The
   * items then are the oldest that are here, and `complete` is false. */
  began_again: boolean;
  /** False when events after `after` are no longer here: 20,000 are kept. */
  complete: boolean;
  /** Which history the numbers count. Send it back with `after`. */
  history: string;
  items: NumberedEvent[];
  /** Ask with `after` set to this for what comes next. */
  next_after: number;
}
/** Why a job waits, or runs where it does. */
export interface Explanation {
  attempt?: AttemptSummary | null;
  job: JobId;
  /** For people. */
  lines: ExplanationLine[];
  name: string;
  state: JobState;
  waiting?: WhyWaiting | null;
}
/** One thing about a job. */
export interface ExplanationLine {
  /** Such as `why not yet`. */
  about: string;
  words: string;
}
/** What failures cost. */
export interface FailureCost {
  /** Work that was done and lost. */
  lost_gpu_seconds: number;
  /** Booked by attempts that stood still until they were given up. */
  stalled_gpu_seconds: number;
  /** GPUs that could not be used, because they were broken or believed to be. */
  unusable_gpu_seconds: number;
}
/** What brought a fault about. */
export type FaultCause = 'hazard' | 'ordered' | 'correlated' | 'observed';
/** How deep a fault reaches. */
export type FaultDepth = 'simulated' | 'process' | 'network' | 'hardware';
/** Which fault. */
export interface FaultRequest {
  /** For `slow` alone: how many times slower. */
  factor?: number | null;
  /** How long it lasts. Faults that are over as soon as they have hit an attempt take none. */
  for_ms?: number | null;
  /** For faults of one GPU alone: its index; the one that works most when absent. */
  gpu?: number | null;
  /** Such as `crash`, `hang`, `heartbeat_loss`, `slow` or `xid_79`; an unknown one is refused with the names of all. */
  kind: string;
}
/** A fault as it really was. */
export interface FaultSpan {
  /** Which user ordered it and through what; empty when it came by itself. */
  by: string;
  from_ms: number;
  /** The GPU, for faults of one GPU. */
  gpu?: number | null;
  id: string;
  kind: string;
  /** The node that was broken, or the process when it hosts none. */
  node: string;
  /** None while it lasts and no end is planned. */
  until_ms?: number | null;
}
/** One fault as it really was. */
export interface FaultTruth {
  /** Who ordered it and through what, such as "`faultline kill`, user root"; empty when it came by itself. */
  by?: string;
  cause: FaultCause;
  depth: FaultDepth;
  /** For a correlated fault, the failure domain, such as `rack-2`. */
  domain?: string | null;
  /** When it began, in Unix milliseconds. */
  from_ms: number;
  /** The GPU on the node, for faults of one GPU. */
  gpu?: number | null;
  /** A ULID, the same when the fault begins and when it ends. */
  id: string;
  /** One word in snake_case, such as `crash`, `xid_79`, `kill` or `partition`. */
  kind: string;
  /** The node or the process that is broken. */
  target: string;
  /** When it begins: the planned end, if there is one. When it ends: the real one. */
  until_ms?: number | null;
}
/** A fault that was ordered. */
export interface FaultView {
  /** For `slow`: how many times slower. */
  factor: number;
  for_ms: number;
  /** For faults of one GPU: which one; the one that works most when absent. */
  gpu?: number | null;
  /** Such as `crash` or `xid_79`, or `restore`. */
  kind: string;
  node: string;
  /** What its worker says that it did; none while it has not said so, and nothing is known of it then. */
  outcome?: string | null;
  /** The process that got the order. */
  worker: string;
}
/** A stretch of the window. */
export interface GoodputRow {
  for_ms: number;
  from_ms: number;
  /** By class, without those that are 0. */
  gpu_seconds: Record<string, number>;
}
/** Where the GPU time of a window went. Work appears when it was done, and stays open until it is known what it was worth. */
export interface GoodputView {
  classes: ClassTime[];
  /** How much of that time is accounted for. A leader accounts for its own term, so that time without one is missing. */
  covered_ms: number;
  failures: FailureCost;
  /** Where the first row begins, in Unix milliseconds. */
  from_ms: number;
  gpu_seconds: number;
  lost: LostTime[];
  ratios: RatioView[];
  rows: GoodputRow[];
  to_ms: number;
  /** The same in a sentence or two. */
  words: string[];
}
/** One GPU's past: a value for each of `t_ms`, null where the node was not heard or the GPU did not report it. */
export interface GpuColumns {
  memory_percent: (number | null)[];
  power_w: (number | null)[];
  temperature_c: (number | null)[];
  /** Percent, in halves. */
  utilisation: (number | null)[];
}
/** One GPU of a node. */
export interface GpuDescriptor {
  /** 0 when the GPU does not say: no job that asks for GPU memory is placed there. */
  memory_mib: number;
  /** Model name as one token, such as `H100-80GB`. */
  model: string;
}
/** What one GPU reports once a second. A reading is absent where the GPU does not give it: a board without a memory sensor, a GPU in
 * MIG mode, a virtual GPU, one that fell off the bus. Absent is not 0. */
export interface GpuTelemetry {
  /** Energy since the device was started. */
  energy_j?: number | null;
  memory_clock_mhz?: number | null;
  memory_temperature_c?: number | null;
  memory_total_mib?: number | null;
  memory_used_mib?: number | null;
  /** Share of the last second in which its memory was read or written, 0 to 100. */
  memory_utilisation_percent?: number | null;
  /** Whether nothing can run on it until it has been reset. */
  out_of_service?: boolean;
  power_w?: number | null;
  sm_clock_mhz?: number | null;
  temperature_c?: number | null;
  /** Whether the clocks are lowered because of heat or power. */
  throttled?: boolean | null;
  /** Share of the last second in which the GPU worked, 0 to 100. */
  utilisation_percent?: number | null;
  /** The last XID error code since the GPU was reset; 0 for none. Absent where the driver does not report XIDs. */
  xid?: number | null;
}
/** The detector's opinion of a node. */
export type Health = 'alive' | 'suspect' | 'gone' | 'dead';
/** The state of this process. */
export interface HealthReply {
  /** The connection stands and NATS answers. */
  nats_connected: boolean;
  scheduler_answers: boolean;
  /** `ok`, or `degraded` while NATS or the scheduler does not answer. */
  status: string;
}
/** What kind of thing happened. */
export type IncidentKind = 'fault' | 'unexplained' | 'false_alarm' | 'departure' | 'leader' | 'failures';
export type IncidentState = 'ongoing' | 'recovered';
/** An incident. Each interrupted job is in exactly one of `waiting`, `placed_again` (and not ended yet), `committed`,
 * `given_up`, `cancelled`, `unknown`. */
export interface IncidentView {
  began_ms: number;
  cancelled: number;
  committed: number;
  /** Attempts that failed by themselves. */
  failures: number;
  given_up: number;
  /** What happened to what, and by whom it was ordered. */
  headline: string;
  /** The id of its first fault, or a ULID of its first sign. */
  id: string;
  /** Jobs whose attempts it interrupted. */
  interrupted: number;
  kind: IncidentKind;
  /** Who leads since, when it cost the leader. */
  leader?: string | null;
  /** Where the jobs went: the 20 places that took most. */
  moved_to: MovedTo[];
  /** The same with where they came from: the 100 ways that were gone last. */
  moves: MovedBetween[];
  /** The first 20 nodes by name that it is about. */
  nodes: string[];
  nodes_total: number;
  /** From the beginning of the fault to the first verdict; none when the fault detector judged no node, and when no fault is known: then the
   * incident begins with its first sign. */
  noticed_after_ms?: number | null;
  placed_again: number;
  /** From its beginning until the last interrupted job was placed again; none while one waits, and when none was interrupted. */
  placed_again_after_ms?: number | null;
  recovered_ms?: number | null;
  /** Commands that do the same again, for the first 20 faults; empty of an experiment, which is repeated as a whole, and where no fault is
   * known or a real device failed. */
  repeat: string[];
  state: IncidentState;
  story: Step[];
  /** What was broken: nodes or processes, the first 20 by name. Empty when no fault is known. */
  targets: string[];
  /** Ended, and their records have expired, so how is not known. */
  unknown: number;
  waiting: number;
}
/** The newest incidents. */
export interface IncidentsPage {
  items: IncidentView[];
  /** How many are known: of the last hour, at most 1,000. */
  total: number;
}
/** A job in a push. */
export interface JobBrief {
  ended_at_ms?: number | null;
  id: JobId;
  kind: string;
  name: string;
  node?: string | null;
  /** Why it waits or how it ended, in words. */
  note: string;
  /** The newest 8 steps. */
  path: StepBrief[];
  priority: Priority;
  progress_permille: number;
  state: JobState;
  submitted_at_ms: number;
}
/** A job with its path. */
export type JobDetail = JobView & {
  /** What is known of the attempts that were interrupted or failed. */
  losses: Loss[];
  /** What the streams JOBS, RESULTS, EVENTS and DEAD hold of it, in the order in which it was stored. */
  messages: StoredMessage[];
  /** Present when they could not be read: why. */
  messages_error?: string | null;
  source: JobSource;
  /** Present while no scheduler answers: since when, in Unix milliseconds. */
  stale_since_ms?: number | null;
  /** Where its trace is looked at; absent unless `trace_url` is set. */
  trace_url?: string | null;
};
/** A job's id: a ULID, and `-` with its index if its pack has more than one job. */
export type JobId = string;
/** Where the details of a job come from. */
export type JobSource = 'scheduler' | 'record' | 'memory';
/** Where a job stands. The last four are terminal. */
export type JobState = 'queued' | 'running' | 'committed' | 'dead' | 'cancelled' | 'abandoned';
/** A job as far as it is known: from the leader while it is active, from its terminal record afterwards. */
export interface JobView {
  attempts?: AttemptSummary[];
  demand?: Demand | null;
  ended_at_ms?: number | null;
  failures?: number;
  id: JobId;
  kind: string;
  name: string;
  /** Where it runs or ran last. */
  node?: string | null;
  priority: Priority;
  progress_permille?: number;
  reason?: string;
  requeues?: number;
  result?: string;
  state: JobState;
  submission?: Submission | null;
  submitted_at_ms: number;
  waiting?: WhyWaiting | null;
}
/** A page of jobs. */
export interface JobsPage {
  items: JobView[];
  page: number;
  per_page: number;
  /** Present while no scheduler answers: since when, in Unix milliseconds. The rows then come from memory. */
  stale_since_ms?: number | null;
  /** All that match, on whatever page. */
  total: number;
}
/** What is kept of the past. */
export interface Kept {
  bytes: number;
  /** The oldest instant; none in the first second of this process. */
  from_ms?: number | null;
  /** The bound of `bytes`, beside two segments that are being written. */
  max_bytes: number;
  /** Those of 1 s first, then those of 10 s, each oldest first. They overlap: an instant is in the last one of the smallest step that
   * does not begin after it. */
  segments: SegmentInfo[];
  to_ms?: number | null;
}
/** A process that was killed. */
export type KillDone = ProcessSignalled & {
  /** How many attempts ran on them, by their last heartbeats. */
  attempts: number;
  /** How many nodes it hosted. */
  nodes: number;
};
/** RESULTS folded up to `through_seq`. */
export interface LedgerSnapshot {
  abandoned: number;
  /** By the server's clock. */
  at_ms: number;
  cancelled: number;
  committed: number;
  dead: number;
  /** Ends of a job that had already ended: each is a broken promise. */
  duplicates: number;
  /** Jobs whose end expired before it was counted: the ledger was away for longer than the records live. They have ended; how, nothing
   * tells any more. */
  missed: number;
  submitted: number;
  through_seq: number;
  /** Jobs that were queued and whose message left JOBS before they had ended: each is a broken promise. */
  vanished?: number;
}
export type Level = 'debug' | 'info' | 'warn' | 'error';
/** What a node's GPUs report together. A figure is null where none of them gives it. */
export interface Load {
  /** Used memory by all memory of the GPUs that report both, 0 to 100. */
  memory_percent?: number | null;
  /** Of all GPUs that report it together. */
  power_w?: number | null;
  /** Of the hottest GPU. */
  temperature_c?: number | null;
  /** Whether one of its GPUs has its clocks lowered. */
  throttled: boolean;
  /** Mean over the GPUs that report it, 0 to 100. */
  utilisation_percent?: number | null;
}
/** One line of a log. */
export interface LogLine {
  /** When `up` read it, in Unix milliseconds. */
  at_ms: number;
  level?: Level | null;
  process: string;
  /** At most 500 bytes. */
  text: string;
}
/** An attempt that broke off. */
export interface Loss {
  attempt: AttemptId;
  cause?: AttemptCause | null;
  /** What its node reported last; none when this dashboard did not hear it. */
  progress_permille?: number | null;
}
/** Work that was lost for one cause. */
export interface LostTime {
  cause: string;
  gpu_seconds: number;
}
/** Something to mark in a chart. */
export interface Marker {
  detail: string;
  kind: EventKind;
  node?: string | null;
  t_ms: number;
}
/** What the cluster's history says about a stretch of time. */
export interface Measurements {
  abandoned: number;
  /** Failed by themselves, or past their time limit. */
  attempts_failed: number;
  /** Taken away because their node or worker was gone. */
  attempts_lost: number;
  attempts_placed: number;
  cancelled: number;
  /** Jobs that ended in this time, by the way they ended. */
  committed: number;
  dead: number;
  /** Messages that were no jobs, and jobs given up: letters in DEAD. */
  dead_letters: number;
  detection?: Spread | null;
  /** Jobs that ended twice. */
  duplicates: number;
  failover?: Spread | null;
  /** Verdicts on nodes that had no fault. */
  false_verdicts: number;
  /** Faults injected in this time. */
  faults: number;
  /** Those of a node, or of a worker with nodes, that no verdict followed. */
  faults_unnoticed: number;
  from_ms: number;
  /** The first of them divided by the second; none when nothing was used. */
  goodput?: number | null;
  /** GPU-seconds of attempts that ended in this time: those that committed, and all. */
  gpu_s_committed: number;
  gpu_s_used: number;
  latency?: Spread | null;
  /** Open jobs that are nowhere: not in JOBS, and surely submitted. None when JOBS could not be looked at. */
  lost?: number | null;
  /** Jobs that are open at the end. */
  open: number;
  recommit?: Spread | null;
  recovery?: Spread | null;
  /** The longest time without a commit, in milliseconds, from the beginning to the last one; none without any. */
  stall_ms?: number | null;
  /** Jobs submitted in this time. */
  submitted: number;
  /** Commits a second. */
  throughput_per_s: number;
  to_ms: number;
  /** Interrupted attempts whose job was neither placed again nor ended. */
  unrecovered: number;
}
/** What the server holds of Faultline. */
export interface Messaging {
  /** When the server was asked, in Unix milliseconds. */
  at_ms: number;
  buckets: BucketFigures[];
  /** Why these are older figures: the server did not answer just now. */
  stale_reason?: string | null;
  streams: StreamFigures[];
}
/** Interrupted jobs that went from one node to another. */
export interface MovedBetween {
  from: string;
  jobs: number;
  /** When the last of them was placed there. */
  last_ms: number;
  to: string;
}
/** Where interrupted jobs were placed next. */
export interface MovedTo {
  jobs: number;
  node: string;
}
/** A node. */
export type NodeDetail = NodeItem & {
  /** Present while no scheduler answers: since when, in Unix milliseconds. */
  stale_since_ms?: number | null;
  /** How many attempts run on those, by their last heartbeats. */
  worker_attempts: number;
  /** How many nodes its worker process hosts, this one among them. */
  worker_nodes: number;
};
/** A fault that a node has: the truth of it, not what was detected. */
export interface NodeFault {
  from_ms: number;
  /** A ULID. */
  id: string;
  /** One word in snake_case, such as `crash`. */
  kind: string;
  /** The planned end, if there is one. */
  until_ms?: number | null;
}
/** What the GPUs of a node reported. */
export interface NodeHistory {
  /** Between two points, in milliseconds. */
  every_ms: number;
  gpus: GpuColumns[];
  node: string;
  /** When each point was taken, oldest first; at most ten minutes. Empty when nothing was kept: of clusters with more than
   * 24,576 GPUs the past of a node is kept from the first time on that it is asked for. */
  t_ms: number[];
}
/** The order of the nodes in the binary frames of the WebSocket, by rack, then by name (2 before 10), and what seldom changes of each. */
export interface NodeIndex {
  /** For each node the place of its first GPU's model in `models`. */
  model_of: number[];
  /** Of first GPUs. */
  models: string[];
  nodes: string[];
  /** For each rack its name, the place of its first node, and how many nodes it has. */
  racks: [string, number, number][];
  /** Another number means another order. Differs between processes of the dashboard. */
  revision: number;
  /** For each node the place of its worker in `workers`. */
  worker_of: number[];
  workers: string[];
}
/** A node in full, with what its GPUs report together. */
export type NodeItem = NodeView & Load & {
  fault?: NodeFault | null;
};
/** A node in a push. */
export interface NodeRow {
  draining: boolean;
  /** Simulated failures in percent a minute. */
  fail_percent_per_min: number;
  fault?: NodeFault | null;
  /** Of one GPU. */
  gpu_memory_mib: number;
  gpus: number;
  health: Health;
  /** When this row was made; none before the first heartbeat. */
  heartbeat_age_ms?: number | null;
  incarnation: number;
  /** Of its first GPU. */
  model: string;
  node: string;
  /** The detector's suspicion when it last spoke; 0 before. */
  phi: number;
  rack: string;
  running: number;
  /** The first few of them. */
  running_jobs: RunningShown[];
  worker: string;
}
/** What a node is, unchanging through one incarnation. */
export interface NodeSpec {
  /** Simulated failures in percent a minute; 0 for a real machine. */
  fault_percent_per_min?: number;
  /** Why the machine's real GPUs cannot be used, if they cannot: the node then offers no GPU. */
  gpu_problem?: string | null;
  gpus: GpuDescriptor[];
  /** Which life of the node this is; grows with every restart. */
  incarnation: number;
  /** The job kinds that its executors run, by their first part: `service` stands for every `service:NAME`. */
  kinds?: string[];
  /** One token, such as `gpu-node-01`. */
  node: string;
  rack: string;
  /** The most attempts that may run at once, whatever their GPU shares. */
  slots: number;
  /** `simulated` or `nvml`. */
  telemetry_source: string;
  /** The process that hosts it, one token. */
  worker: string;
}
/** A node as the leader sees it. */
export type NodeView = NodeSpec & {
  draining: boolean;
  /** MiB of each GPU that are reserved. */
  gpu_reserved_mib: number[];
  /** Thousandths of each GPU that are taken. */
  gpu_used_milli: number[];
  health: Health;
  /** Time since the last heartbeat, in milliseconds; none before the first. */
  heartbeat_age_ms?: number | null;
  running: RunningBrief[];
  telemetry: GpuTelemetry[];
  verdict?: Verdict | null;
};
/** A page of nodes. */
export interface NodesPage {
  items: NodeItem[];
  page: number;
  per_page: number;
  /** Present while no scheduler answers: since when, in Unix milliseconds. What is booked on the GPUs is then old or empty. */
  stale_since_ms?: number | null;
  /** All that match, on whatever page. */
  total: number;
}
/** An event and its number. */
export type NumberedEvent = ClusterEvent & {
  /** Grows with every event; ask for what is `after` it. Not without gaps. */
  seq: number;
};
/** Where a job comes from. NATS does not tell a reader whose key a message was published with, so this is what the submitter states. */
export interface Origin {
  /** Such as `command, user ann@login-1` or `generator`; empty when the submitter did not say. */
  by?: string;
  resubmitted_from?: JobId | null;
}
/** One part of a run, seen from the samples of that time. */
export interface PhaseFigures {
  /** From the records of the jobs that committed in this time. */
  committed: number;
  from_ms: number;
  jobs_queued: number;
  jobs_running: number;
  /** The fewest at once. */
  nodes_alive_min: number;
  nodes_known: number;
  phase: ChaosPhase;
  /** How often the scheduler answered; the averages are over these. */
  samples: number;
  throughput_per_s: number;
  to_ms: number;
}
/** Where a job that waits for room stands, and what may come of it. */
export interface PlaceInLine {
  /** How many nodes could run it if they were open and empty, of how many. */
  able: number;
  /** How many of them go before it. */
  ahead: number;
  /** How many of those ask for the same as it does. */
  ahead_alike: number;
  /** When it is given up because no node could ever run it, unless the nodes change before; none while one could. */
  given_up_at_ms?: number | null;
  nodes: number;
  /** How many jobs have been placed since this leader has held it. */
  placed_meanwhile: number;
  /** No node has room for it, so that jobs behind it go ahead when they fit. Otherwise it has yet to be tried. */
  stands_aside: boolean;
  /** How many jobs wait here for room, this one among them. */
  waiting: number;
}
/** Who goes first when GPUs are short. The order of the variants is the order of service. */
export type Priority = 'urgent' | 'high' | 'normal' | 'low';
/** A process that was started in the place of one that ended. */
export interface ProcessBack {
  /** Since the signal that ended the one before. */
  after_ms: number;
  pid: number;
}
/** A signal that was delivered to a process, and what came of it so far. */
export interface ProcessSignalled {
  back?: ProcessBack | null;
  /** From the signal until that process had ended; none while it has not. */
  ended_after_ms?: number | null;
  /** The process that got it. */
  pid: number;
  service: string;
  /** Such as `SIGKILL`. */
  signal: string;
}
/** How a process is. */
export type ProcessState = 'running' | 'waiting' | 'stopping';
/** One process that `up` runs. */
export interface ProcessView {
  errors: number;
  /** How it ended the last time. */
  last_exit?: string | null;
  name: string;
  /** What it does, such as `leads, epoch 7`, or why it is not ready. */
  note: string;
  /** None while it does not run. */
  pid?: number | null;
  /** Whether it can do its work, as its `/readyz` says; none for a process without one, and while it does not run. */
  ready?: boolean | null;
  /** How often it was started again. */
  restarts: number;
  state: ProcessState;
  uptime_ms: number;
  /** Lines of warnings and errors among those that are kept of it. */
  warnings: number;
}
/** The answer to `up.processes`. */
export interface ProcessesReply {
  /** Oldest first. */
  lines: LogLine[];
  /** The folder of the log files, on the machine of `up`. */
  log_dir: string;
  processes: ProcessView[];
  uptime_ms: number;
}
/** What this leader has counted of a policy program. */
export interface ProgramStanding {
  /** How long its answers took, of the last thousand. */
  answer_p50_ms?: number;
  answer_p95_ms?: number;
  failures?: number;
  /** The built-in policy that decides while the program does not. */
  fallback?: string;
  /** The last of those. */
  last_wrong?: string;
  /** Answers for nodes that had left, were closed, or were full by then. */
  late?: number;
  /** Tasks that it let wait. */
  left_waiting?: number;
  /** As in `service:NAME`. */
  name?: string;
  /** Tasks that went where it said. */
  placed?: number;
  /** Tasks that the built-in policy placed. */
  placed_by_fallback?: number;
  /** Requests that were sent to it, and of those the ones that had no answer, or none that can be used. */
  requests?: number;
  /** Since when, in Unix milliseconds by the cluster's time. */
  since_ms?: number;
  state?: ProgramState;
  /** Why the program does not decide, or did not the last time. */
  why?: string;
  /** Answers that were wrong from the beginning. */
  wrong?: number;
}
/** Who decides where tasks go. */
export type ProgramState = 'greeted' | 'decides' | 'silent';
/** A rate with a name. */
export interface RatePreset {
  jobs_per_minute: number;
  name: string;
}
/** Exactly one of the three. */
export interface RateRequest {
  /** 0.1 to 50. */
  jobs_per_minute?: number | null;
  /** A share of the cluster's GPU time, 1 to 200 %: as many jobs as take it, however many nodes there are. */
  load_percent?: number | null;
  /** `Light Load`, `Normal`, `High Load`, `Extreme` or `MAXIMUM`. */
  preset?: string | null;
}
/** How many jobs are generated. */
export interface RateView {
  at_ms: number;
  /** What it said, in words. */
  in_force?: string | null;
  /** When it said so last, by its clock; it does every 5 s. */
  in_force_at_ms?: number | null;
  /** The GPUs of the cluster of which that load is a share; 0 while the scheduler has not told them. */
  in_force_gpus?: number | null;
  /** The load that comes to this rate; none when it keeps to a rate. */
  in_force_load_percent?: number | null;
  /** The rate at which the generator submits jobs, by its own word; none when no generator runs. */
  in_force_per_minute?: number | null;
  /** The rate that was set. With a load: what the generator makes of it, and 0 while no generator has said so. */
  jobs_per_minute: number;
  /** The load that was set, or holds because nothing is set: the share of the cluster's GPU time, in percent. None with a rate. */
  load_percent?: number | null;
  /** Loads to choose from, in percent. */
  loads: number[];
  max_per_minute: number;
  min_per_minute: number;
  /** The preset that has this rate, if one does. */
  preset?: string | null;
  presets: RatePreset[];
  /** Why that is not the rate that was set. */
  refused?: string | null;
  /** Empty while it is not set. */
  set_by: string;
}
/** A ratio with its formula; without a value where there is nothing to divide by. */
export interface RatioView {
  formula: string;
  name: string;
  value?: number | null;
}
/** How many nodes said no for one reason. */
export interface Reject {
  nodes: number;
  reason: RejectReason;
}
/** Why one node cannot take one job now. */
export type RejectReason = 'not_alive' | 'draining' | 'kind_not_offered' | 'wrong_model' | 'too_few_gpus' | 'gpu_memory_too_small' | 'slots_taken' | 'gpu_share_taken' | 'gpu_memory_taken' | 'gpu_out_of_service' | 'refused_lately';
/** The new job. */
export interface Resubmission {
  id: JobId;
  resubmitted_from: JobId;
}
/** What differs from the original job. */
export interface ResubmitRequest {
  priority?: Priority | null;
}
/** A run that is being put right. */
export interface RunAborting {
  run: string;
}
/** An experiment. What is left out is the default of the kind. */
export interface RunRequest {
  after_ms?: number | null;
  before_ms?: number | null;
  /** How many targets are drawn. */
  count?: number | null;
  /** For `slow`: how many times slower. */
  factor?: number | null;
  /** How long the fault lasts, at most a day. */
  for_ms?: number | null;
  /** Clauses such as `lost=0,recovery_p99<5s`. */
  hypothesis?: string | null;
  kind: ChaosKind;
  /** For `kill-percent`: the share of the workers, above 0 and up to 100. */
  percent?: number | null;
  seed?: number | null;
  /** A node, a worker or a service by name; drawn when absent. */
  target?: string | null;
  /** Whether all of the cluster must be whole before the fault and after it, not only the targets; false when absent. */
  wait_whole?: boolean | null;
  /** For `gpu-error`: the XID. */
  xid?: number | null;
}
/** A run that has begun. */
export interface RunStarted {
  run: string;
  seed: number;
}
/** The second best node. */
export interface RunnerUp {
  node: string;
  score: number;
}
export interface RunningBrief {
  attempt: AttemptId;
  /** The lease under which it was placed. */
  epoch?: number;
  job: JobId;
  progress_permille: number;
}
/** A running job of a node. */
export interface RunningShown {
  job: JobId;
  progress_permille: number;
}
/** A segment as it is listed. */
export interface SegmentInfo {
  /** In memory here; compressed once nothing is added to it any more. */
  bytes: number;
  /** Between two instants, in milliseconds. */
  every_ms: number;
  /** Its first instant, in Unix milliseconds. */
  from_ms: number;
  /** What it is asked for by. */
  id: string;
  /** Its last instant so far. */
  to_ms: number;
}
/** One second. */
export interface SeriesPoint {
  /** Jobs submitted in the second before. */
  arrivals_per_s: number;
  /** Jobs committed in the second before. */
  completions_per_s: number;
  /** Booked thousandths of GPUs by all there are, 0 to 100; none while no scheduler answers. */
  gpu_allocated_percent?: number | null;
  /** Mean over the GPUs of all nodes that are heard, 0 to 100; none while no node is. */
  gpu_utilisation_percent?: number | null;
  nodes_alive: number;
  /** Jobs that wait. */
  queue: number;
  running: number;
  /** When it was taken, in Unix milliseconds. */
  t_ms: number;
  temperature_max_c?: number | null;
  temperature_mean_c?: number | null;
}
/** Whether one has to sign in, and has. */
export interface SessionReply {
  /** The request came with the cookie of a session that has not ended. */
  signed_in: boolean;
  /** Whether the client must sign in. On Linux the user who runs the dashboard, and root, need not, unless it was started with a token for all. */
  token_needed: boolean;
}
/** The token, as it is in the file of `--token-file`. */
export interface SignIn {
  token: string;
}
/** Where a job would run. */
export interface Spot {
  /** Indexes of the GPUs on the node. */
  gpus: number[];
  node: string;
}
/** Percentiles of some durations, in milliseconds, by nearest rank. */
export interface Spread {
  /** How many there were, at least one. */
  count: number;
  max_ms: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
}
/** What a client knows after it took a hello, or all deltas up to this one. */
export interface State {
  chaos: ChaosState;
  demo: DemoState;
  /** The newest 40, oldest first. Texts are clipped. */
  events: NumberedEvent[];
  /** The newest 6, newest first; none while this process cannot read the history yet. */
  incidents?: IncidentView[] | null;
  /** The newest 50, newest first. */
  jobs: JobBrief[];
  /** Which order the binary messages have; `/api/v1/nodes/index` tells it. */
  node_index: number;
  /** By name; empty when `nodes_by_rest`. */
  nodes: NodeRow[];
  /** The cluster has more than 64 nodes: ask `/api/v1/nodes` for the rows that are looked at. States are in the
   * binary messages. */
  nodes_by_rest: boolean;
  point?: SeriesPoint | null;
  rate: RateView;
  /** How many seconds `/api/v1/series` keeps. */
  series_s: number;
  stats: StatsReply;
}
/** Figures of the cluster and of this dashboard. */
export type StatsReply = ClusterStats & Derived & {
  /** Jobs and events in memory here. */
  jobs_in_memory: number;
  /** The number of the newest event. */
  last_event_seq: number;
  nats_connected: boolean;
  /** Present while NATS does not answer: since when, in Unix milliseconds. Jobs that run go on; nothing is placed or committed. */
  nats_silent_since_ms?: number | null;
  nodes_known: number;
  /** Present while no scheduler answers: since when, in Unix milliseconds. The figures are then counted here. */
  stale_since_ms?: number | null;
  /** WebSockets and event streams that are open. */
  streams_open: number;
  /** Messages that this dashboard could not read, since its start. */
  undecodable_messages: number;
};
/** One step of the story, in the order in which things happened. */
export interface Step {
  /** Since the beginning of the incident. */
  after_ms: number;
  at_ms: number;
  kind: StepKind;
  text: string;
}
/** One step of a job's path in a push. */
export interface StepBrief {
  node: string;
  outcome: AttemptOutcome;
}
/** A part of the story. */
export type StepKind = 'began' | 'noticed' | 'given_up' | 'interrupted' | 'placed_again' | 'leader' | 'mended' | 'recovered' | 'ended';
/** A message of a stream. */
export interface StoredMessage {
  /** When the server stored it, in Unix milliseconds. */
  at_ms: number;
  /** The body, decoded; null when it cannot be. */
  body: Record<string, unknown>;
  headers: Record<string, string>;
  /** Why it cannot be. */
  problem?: string | null;
  /** Its sequence in the stream. */
  seq: number;
  stream: string;
  subject: string;
}
/** A stream. */
export interface StreamFigures {
  bytes: number;
  command: string;
  consumers: ConsumerFigures[];
  first_seq: number;
  last_seq: number;
  messages: number;
  /** There are more than 50 consumers. */
  more_consumers: boolean;
  name: string;
}
/** All of a spec that a record and a view do not have anyway. */
export interface Submission {
  demand: Demand;
  /** How long the job is expected to run, in milliseconds. */
  expected_ms: number;
  /** How often the job itself may fail and be tried again. */
  max_retries: number;
  origin?: Origin;
  params?: BTreeMap;
  /** Greater than 0 when `params` is empty because the parameters were too long to be kept: how many bytes they had. */
  params_left_out_bytes?: number;
  /** An attempt that runs longer fails, in milliseconds. */
  timeout_ms: number;
}
/** One or many equal jobs. Everything but `kind` may be left out. */
export interface SubmitRequest {
  /** 1 to 10,000; 1 when absent. */
  count?: number | null;
  /** How long it works or holds its GPUs, in milliseconds. */
  duration_ms?: number | null;
  /** On each of those GPUs; 0 when absent. */
  gpu_memory_mib?: number | null;
  /** GPUs: a share below 1, or a whole number up to 8; 0.1 when absent. */
  gpus?: number | null;
  /** `sleep`, `compute`, `matrix`, `fault`, `service:NAME` for a program that answers on NATS, or a kind of your own. */
  kind: string;
  /** How often the job itself may fail and be tried again; 3 when absent. */
  max_retries?: number | null;
  /** Acceptable GPU models; any when absent. */
  models?: string[];
  /** For people; made up from kind and priority when absent. Many jobs get a number each. */
  name?: string | null;
  /** Further parameters for the executor, each of the type that it has in JSON. */
  params?: BTreeMap;
  /** Further parameters as a person types them: a text that is unmistakably `true`, `false` or a number becomes one, as with
   * `faultline submit --param`; all else stays text. */
  params_from_text?: Record<string, string>;
  priority?: Priority | null;
  /** How much work: rows of the matrices, or the number up to which `compute` counts primes. Not for `sleep` and `fault`. */
  size?: number | null;
  /** An attempt that runs longer fails, in milliseconds; 30 s, or three times the duration, when absent. */
  timeout_ms?: number | null;
}
/** What was submitted. */
export interface Submitted {
  error?: ErrorDetail | null;
  ids: JobId[];
  submitted: number;
  /** What seems to be a mistake and may be meant, such as a GPU model that no node has. */
  warnings?: string[];
}
/** A text message of the WebSocket. */
export type Told = {
  at_ms: number;
  seq: number;
  state: State;
  type: 'hello';
} | (Delta & {
  at_ms: number;
  seq: number;
} & {
  type: 'delta';
});
/** A file of the Trace Event Format, in its object form. */
export interface Trace {
  /** Always `ms`. */
  displayTimeUnit: string;
  traceEvents: Record<string, unknown>[];
}
/** `node.verdict.<node>` and KV HEALTH `<node>`: the detector's opinion with its evidence. */
export interface Verdict {
  at_ms: number;
  /** Which detector spoke, such as `phi-accrual`. */
  detector: string;
  /** What it rests on, in words. */
  evidence: string;
  health: Health;
  incarnation: number;
  node: string;
  /** The suspicion level when it spoke; 0 where the detector has none. */
  phi: number;
  /** Time since the last heartbeat, in milliseconds. */
  silence_ms: number;
  worker: string;
}
/** What the detector said of a node, or that it joined again. */
export interface VerdictMark {
  at_ms: number;
  health: Health;
  node: string;
}
/** Why a job still waits. */
export interface WhyWaiting {
  place?: PlaceInLine | null;
  /** Why each node said no when it was last asked; empty when that is not known. */
  rejects: Reject[];
  since_ms: number;
  /** For people. */
  summary: string;
}
/** A part of the line. */
export interface Window {
  /** By beginning. */
  bars: Bar[];
  faults: FaultSpan[];
  from_ms: number;
  /** Those that anything below is about, by name. */
  nodes: string[];
  to_ms: number;
  /** There were more than 5,000 bars: the youngest are here. */
  truncated: boolean;
  verdicts: VerdictMark[];
}
/** What would become of equal jobs that were submitted now. */
export interface WouldFit {
  /** How many nodes could run one if they were open and empty, of how many. */
  able: number;
  choice?: Choice | null;
  /** How many were asked about. */
  count: number;
  nodes: number;
  /** Why each node refuses the next one; empty when there is room for all. */
  rejects: Reject[];
  /** Where those would run that there is room for, in the order in which they would be placed; not all of them when the answer would be too long. */
  spots: Spot[];
  /** How many of them would start now. */
  starts: number;
  /** For people. */
  summary: string;
  /** Jobs that wait and have yet to be tried: they go first. */
  untried?: number;
}
