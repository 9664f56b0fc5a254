// What the service sends: the JSON of /api/v1 and of its WebSocket, and the packed telemetry frame. Names and units are the service's.

export type Health = 'alive' | 'suspect' | 'gone' | 'dead';
export type JobState = 'queued' | 'running' | 'committed' | 'dead' | 'cancelled' | 'abandoned';
export type Outcome = 'running' | 'committed' | 'failed' | 'timed_out' | 'lost' | 'cancelled' | 'superseded';
export type Priority = 'urgent' | 'high' | 'normal' | 'low';
export type Level = 'debug' | 'info' | 'warn' | 'error';

export interface Ledger {
  submitted: number;
  committed: number;
  dead: number;
  cancelled: number;
  abandoned: number;
  duplicates: number;
  missed: number;
}

export interface Stats {
  leader: string;
  epoch: number;
  policy: string;
  nodes_alive: number;
  nodes_suspect: number;
  nodes_gone: number;
  nodes_dead: number;
  nodes_draining: number;
  gpus_total: number;
  gpu_used_milli: number;
  queued_in_stream: number;
  queued_held: number;
  running: number;
  requeued_total: number;
  retried_total: number;
  ledger: Ledger;
  stale_since_ms?: number;
  nats_connected: boolean;
  committed_last_minute: number;
  submitted_last_minute: number;
  oldest_queued_age_ms: number | null;
  gpu_utilisation_percent: number | null;
  gpu_allocated_percent: number | null;
  detection_p50_ms: number | null;
  detection_p95_ms: number | null;
  recovery_p50_ms?: number | null;
  recovery_p95_ms?: number | null;
  /** Null until it was watched for long enough. */
  jobs_lost: number | null;
  jobs_ended_twice: number;
  attempts_repeated: number;
}

export interface Preset {
  name: string;
  jobs_per_minute: number;
}
export interface Rate {
  jobs_per_minute: number;
  preset: string | null;
  set_by: string;
  at_ms: number;
  min_per_minute: number;
  max_per_minute: number;
  presets: Preset[];
}

export interface RunningJob {
  job: string;
  progress_permille: number;
}
export interface NodeFault {
  kind: string;
  until_ms?: number | null;
}
export interface NodeRow {
  node: string;
  worker: string;
  rack: string;
  model: string;
  gpus: number;
  gpu_memory_mib: number;
  health: Health;
  draining: boolean;
  incarnation: number;
  phi?: number | null;
  running: number;
  running_jobs?: RunningJob[];
  fault?: NodeFault | null;
  fail_percent_per_min?: number;
  heartbeat_age_ms?: number | null;
  power_w?: number | null;
}

export interface Step {
  node: string;
  outcome: Outcome;
}
export interface JobBrief {
  id: string;
  name: string;
  kind: string;
  priority: Priority;
  state: JobState;
  node: string | null;
  progress_permille: number;
  submitted_at_ms: number;
  ended_at_ms: number | null;
  path: Step[];
  note: string;
}

export interface ClusterEvent {
  seq: number;
  at_ms: number;
  service: string;
  level: Level;
  kind: string;
  job?: string;
  attempt?: string;
  node?: string;
  detail: string;
}

export interface SeriesPoint {
  t_ms: number;
  arrivals_per_s: number;
  completions_per_s: number;
  queue: number;
  running: number;
  gpu_utilisation_percent: number;
  gpu_allocated_percent: number;
  temperature_max_c: number;
  temperature_mean_c: number;
  nodes_alive: number;
}
export type SeriesColumns = { [K in keyof SeriesPoint]: (number | null)[] };
export interface Marker {
  t_ms: number;
  kind: string;
  node?: string | null;
  detail: string;
}
export type Series = SeriesColumns & { markers: Marker[] };

export interface Attempt {
  attempt: string;
  node: string;
  incarnation: number;
  gpus: number[];
  placed_at_ms: number;
  started_at_ms: number | null;
  ended_at_ms: number | null;
  outcome: Outcome;
  detail: string;
  why: string;
}
export interface JobView {
  id: string;
  name: string;
  kind: string;
  priority: Priority;
  state: JobState;
  submitted_at_ms: number;
  ended_at_ms: number | null;
  demand: { gpu_milli: number; gpu_memory_mib: number; models: string[] } | null;
  node: string | null;
  progress_permille: number;
  failures: number;
  requeues: number;
  attempts: Attempt[];
  result: string;
  reason: string;
  waiting: { since_ms: number; rejects: { reason: string; nodes: number }[]; summary: string } | null;
}
export interface JobMessage {
  stream: string;
  subject: string;
  seq: number;
  at_ms: number;
  headers: Record<string, string>;
  body: unknown;
}
/** What is known of an attempt that was lost or failed. */
export interface Loss {
  attempt: string;
  progress_permille: number | null;
  fault: string | null;
  noticed_after_ms: number | null;
}
export type JobDetail = JobView & { source: string; stale_since_ms?: number; losses: Loss[]; messages?: JobMessage[] };
export interface JobsPage {
  items: JobView[];
  total?: number;
  page?: number;
  per_page?: number;
  stale_since_ms?: number;
}

export interface Verdict {
  health: Health;
  detector: string;
  phi: number;
  silence_ms: number;
  evidence: string;
  at_ms: number;
}
export interface GpuTelemetry {
  utilisation_percent: number;
  memory_used_mib: number;
  memory_total_mib: number;
  temperature_c: number;
  power_w: number;
  throttled: boolean;
  xid: number;
}
export interface NodeDetail {
  node: string;
  worker: string;
  incarnation: number;
  gpus: { model: string; memory_mib: number }[];
  rack: string;
  slots: number;
  kinds: string[];
  fault_percent_per_min: number;
  telemetry_source: string;
  health: Health;
  draining: boolean;
  gpu_used_milli: number[];
  gpu_reserved_mib: number[];
  running: { attempt: string; job: string; progress_permille: number }[];
  telemetry: GpuTelemetry[];
  heartbeat_age_ms: number | null;
  verdict: Verdict | null;
  fault?: NodeFault | null;
  stale_since_ms?: number;
}
export interface NodeHistory {
  t_ms: number[];
  gpus: {
    utilisation: (number | null)[];
    memory_percent: (number | null)[];
    temperature_c: (number | null)[];
    power_w: (number | null)[];
  }[];
}

export interface Bar {
  job: string;
  name: string;
  kind: string;
  attempt: string;
  node: string;
  gpus: number[];
  start_ms: number;
  end_ms: number | null;
  outcome: Outcome;
  next_attempt: string | null;
}
export interface TimelineFault {
  node: string;
  kind: string;
  from_ms: number;
  until_ms: number | null;
}
export interface TimelineVerdict {
  node: string;
  health: Health;
  at_ms: number;
}
export interface Timeline {
  from_ms: number;
  to_ms: number;
  nodes: string[];
  bars: Bar[];
  faults: TimelineFault[];
  verdicts: TimelineVerdict[];
  truncated: boolean;
}

export interface Consumer {
  name: string;
  pending: number;
  ack_pending: number;
  redelivered: number;
  waiting: number;
  command?: string;
}
export interface Stream {
  name: string;
  messages: number;
  bytes: number;
  first_seq: number;
  last_seq: number;
  consumers: Consumer[];
  command: string;
}
export interface Bucket {
  name: string;
  values?: number;
  bytes?: number;
  command?: string;
}
export interface Messaging {
  streams: Stream[];
  buckets: Bucket[];
  at_ms: number;
  /** Why these figures are older: the server did not answer just now. */
  stale_reason?: string;
}

export interface NodeIndex {
  revision: number;
  nodes: string[];
  racks: [string, number, number][];
  workers: string[];
  /** For each node the place of its worker in `workers`. */
  worker_of: number[];
  models: string[];
  model_of: number[];
}

export interface ChaosKindInfo {
  kind: string;
  does: string;
  target: string;
  default_for_ms: number;
  takes: string[];
}
export interface ChaosRequest {
  kind: string;
  target?: string;
  for_ms?: number;
  percent?: number;
  hypothesis?: string;
}
export interface ChaosSample {
  jobs_running: number;
  jobs_queued: number;
  nodes_alive: number;
  nodes_known: number;
  committed: number;
}
export interface ChaosProgress {
  run: string;
  kind: string;
  phase: 'checking' | 'before' | 'during' | 'after' | 'done';
  at_ms: number;
  left_ms: number;
  detail: string;
  sample: ChaosSample | null;
}
export interface PhaseFigures {
  phase: string;
  from_ms: number;
  to_ms: number;
  samples: number;
  jobs_running: number;
  jobs_queued: number;
  nodes_alive_min: number;
  nodes_known: number;
  committed: number;
  throughput_per_s: number;
}
export interface Spread {
  count: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
  max_ms: number;
}
export interface Measurements {
  lost: number | null;
  duplicates: number;
  attempts_lost: number;
  unrecovered: number;
  false_verdicts: number;
  detection: Spread | null;
  recovery: Spread | null;
  failover: Spread | null;
}
export interface ChaosReport {
  run: string;
  request: ChaosRequest;
  outcome: 'passed' | 'failed' | 'aborted' | 'refused' | 'broken';
  reason: string;
  started_at_ms: number;
  ended_at_ms: number;
  targets: string[];
  whole_after_ms: number | null;
  phases: PhaseFigures[];
  measured: Measurements | null;
  clauses: { clause: string; passed: boolean; measured: string }[];
}
export interface Chaos {
  available: boolean;
  reason?: string | null;
  kinds: ChaosKindInfo[];
  running?: ChaosProgress | null;
  runs: ChaosReport[];
}
/** What is pushed of experiments: another `runs_ended` means that there is a new report. */
export interface ChaosPush {
  available: boolean;
  reason?: string | null;
  running?: ChaosProgress | null;
  runs_ended: number;
}

export interface State {
  stats: Stats;
  rate: Rate;
  series_s: number;
  nodes: NodeRow[];
  nodes_by_rest: boolean;
  node_index: number;
  jobs: JobBrief[];
  chaos?: ChaosPush | null;
}
export interface Hello {
  type: 'hello';
  seq: number;
  at_ms: number;
  state: State;
}
export interface Delta {
  type: 'delta';
  seq: number;
  at_ms: number;
  stats?: Stats;
  rate?: Rate;
  nodes?: { changed: NodeRow[]; removed: string[] };
  nodes_by_rest?: boolean;
  node_index?: number;
  jobs?: { changed: JobBrief[]; removed: string[] };
  events?: ClusterEvent[];
  events_after?: number;
  chaos?: ChaosPush;
  point?: SeriesPoint;
}

// The state byte of a node in a telemetry frame.
export const STATE_MASK = 0b111;
export const HEALTH_NAMES = ['alive', 'suspect', 'gone', 'dead', 'left'] as const;
export type CellHealth = (typeof HEALTH_NAMES)[number];
export const DRAINING = 1 << 3;
export const THROTTLED = 1 << 4;
export const FAULTED = 1 << 5;
export const LATE = 1 << 6;

const HEADER_BYTES = 16;
const NODE_BYTES = 5;

/** Telemetry of all nodes in the order of the node index; what a field means is in the table of the frame, see ARCHITECTURE.md. */
export interface Frame {
  seq: number;
  revision: number;
  count: number;
  cells: Uint8Array;
  bytes: number;
}

/** Reads a binary frame; null when it is not one of ours, which a page of another version than the service may see. */
export function decodeFrame(buffer: ArrayBuffer): Frame | null {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const head = new DataView(buffer);
  const count = head.getUint32(12, true);
  if (head.getUint8(0) !== 1 || buffer.byteLength < HEADER_BYTES + NODE_BYTES * count) return null;
  return {
    seq: head.getUint32(4, true),
    revision: head.getUint32(8, true),
    count,
    cells: new Uint8Array(buffer, HEADER_BYTES),
    bytes: buffer.byteLength,
  };
}

export interface Cell {
  utilisation: number;
  memory: number;
  temperature: number;
  health: CellHealth;
  flags: number;
  running: number;
}

/** One node of a frame: percentages 0 to 100, degrees Celsius. */
export function cellAt(frame: Frame, index: number): Cell | null {
  if (index < 0 || index >= frame.count) return null;
  const at = index * NODE_BYTES;
  const state = frame.cells[at + 3] ?? 4;
  return {
    utilisation: (frame.cells[at] ?? 0) / 2,
    memory: (frame.cells[at + 1] ?? 0) / 2,
    temperature: frame.cells[at + 2] ?? 0,
    health: HEALTH_NAMES[state & STATE_MASK] ?? 'left',
    flags: state & ~STATE_MASK,
    running: frame.cells[at + 4] ?? 0,
  };
}
