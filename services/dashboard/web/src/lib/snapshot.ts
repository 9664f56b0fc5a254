// The state at one instant, apart from what is on display, and what differs between two of them.

import { cellAt, decodeFrame, DRAINING, FAULTED } from './frame';
import { Reader } from './segment';
import type { IncidentView, JobBrief, NodeIndex, State, StatsReply, Told } from './wire';

export interface NodeThen {
  health: string;
  running: number;
  draining: boolean;
  faulted: boolean;
}

export interface Snapshot {
  at: number;
  stats: StatsReply;
  perMinute: number;
  nodes: Map<string, NodeThen>;
  jobs: Map<string, JobBrief>;
  incidents: IncidentView[];
}

/** Reads a segment up to an instant; null when it begins later. */
export function snapshotOf(bytes: Uint8Array<ArrayBuffer>, until: number): Snapshot | null {
  let state: State | null = null;
  let order: NodeIndex | null = null;
  const jobs = new Map<string, JobBrief>();
  const take = ({ stats, rate, incidents }: Partial<State>) => {
    if (state) state = { ...state, ...(stats && { stats }), ...(rate && { rate }), ...(incidents && { incidents }) };
  };
  const told = (message: Told) => {
    if (message.type === 'hello') {
      state = message.state;
      jobs.clear();
      for (const job of message.state.jobs) jobs.set(job.id, job);
    } else {
      take(message as Partial<State>);
      for (const job of message.jobs?.changed ?? []) jobs.set(job.id, job);
      for (const id of message.jobs?.removed ?? []) jobs.delete(id);
    }
  };
  const reader = new Reader(bytes);
  reader.readTo(until, { told, ordered: (next) => (order = next) });
  const found = state as State | null;
  if (!found) return null;
  return {
    at: reader.at,
    stats: found.stats,
    perMinute: found.rate.jobs_per_minute,
    nodes: nodesOf(reader.frame, order),
    jobs,
    incidents: found.incidents ?? [],
  };
}

function nodesOf(bytes: Uint8Array<ArrayBuffer>, order: NodeIndex | null): Map<string, NodeThen> {
  const frame = decodeFrame(bytes.slice().buffer);
  const nodes = new Map<string, NodeThen>();
  order?.nodes.forEach((name, at) => {
    const cell = frame && cellAt(frame, at);
    if (!cell) return;
    const { health, running, flags } = cell;
    nodes.set(name, { health, running, draining: (flags & DRAINING) !== 0, faulted: (flags & FAULTED) !== 0 });
  });
  return nodes;
}

/** In words, such as: alive, draining, under a fault. */
export const nodeWords = (node: NodeThen | undefined) =>
  node ? [node.health, node.draining && 'draining', node.faulted && 'under a fault'].filter(Boolean).join(', ') : 'not known';

export interface Pair<T> {
  name: string;
  before: T | undefined;
  after: T | undefined;
}

function pairs<T>(before: Map<string, T>, after: Map<string, T>, differ: (a: T | undefined, b: T | undefined) => boolean): Pair<T>[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  return names.map((name) => ({ name, before: before.get(name), after: after.get(name) })).filter((pair) => differ(pair.before, pair.after));
}

/** Nodes that stood otherwise, and those whose state was the same with another number of jobs. */
export function changedNodes(a: Snapshot, b: Snapshot): { states: Pair<NodeThen>[]; loads: Pair<NodeThen>[] } {
  const states = pairs(a.nodes, b.nodes, (one, other) => nodeWords(one) !== nodeWords(other));
  const known = new Set(states.map((pair) => pair.name));
  const loads = pairs(a.nodes, b.nodes, (one, other) => one?.running !== other?.running).filter((pair) => !known.has(pair.name));
  return { states, loads };
}

const jobKey = (job: JobBrief | undefined) => job && `${job.state} ${job.node ?? ''} ${job.path.map((step) => `${step.node} ${step.outcome}`)}`;

/** Jobs that stood otherwise, the newest first; of each instant the newest 50 are known. */
export const changedJobs = (a: Snapshot, b: Snapshot): Pair<JobBrief>[] =>
  pairs(a.jobs, b.jobs, (one, other) => jobKey(one) !== jobKey(other)).reverse();
