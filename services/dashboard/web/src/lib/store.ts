// What the page knows of the cluster. `apply` takes the service's messages in; components read the signals. While the display is paused the
// messages wait in a queue, so that everything on the page stays as it was.

import { batch, computed, signal } from '@preact/signals';
import { announceEvents } from './announce';
import { appendPoint, loadSeries, markEvents } from './series';
import type { ChaosState, DemoState, EventsPage, IncidentView, JobBrief, NodeIndex, NodeRow, NumberedEvent, RateView, State, StatsReply, Told } from './wire';
import { decodeFrame, type Frame } from './frame';
import { get } from './api';
import { instant } from './instant';

export const stats = signal<StatsReply | null>(null);
export const rate = signal<RateView | null>(null);
export const chaos = signal<ChaosState | null>(null);
/** What `faultline demo` shows, in its own cluster. */
export const demo = signal<DemoState | null>(null);
/** The newest incidents, newest first; none while the service cannot read the history. */
export const incidents = signal<IncidentView[] | null>(null);
export const frame = signal<Frame | null>(null);
export const index = signal<NodeIndex>({ revision: -1, nodes: [], racks: [], workers: [], worker_of: [], models: [], model_of: [] });
/** Why the names of the nodes could not be loaded, until they are. */
export const indexFailure = signal<unknown>(null);
/** The service's time less ours: spans to now are taken in the service's time. Ours is the time since the page was opened, which does not
 * jump with the clock of this machine. Until the first hello this browser's clock stands in for the service's. */
export const clockSkewMs = signal(performance.timeOrigin);

/** Maps are changed in place: rows are not copied twice a second. The version beside says that something changed. */
export const nodes = new Map<string, NodeRow>();
export const nodesVersion = signal(0);
export const recentJobs = new Map<string, JobBrief>();
export const jobsVersion = signal(0);

/** The newest events, oldest first. */
const MAX_EVENTS = 5000;
export const events = signal<NumberedEvent[]>([]);

export const positions = computed(() => new Map(index.value.nodes.map((name, at) => [name, at])));

const racks = computed(() => index.value.racks.flatMap(([rack, , count]) => Array<string>(count).fill(rack)));

/** What seldom changes of the node at this place of the index. Of large clusters no rows are pushed, but this is always there. */
export function placeOf(at: number): { rack: string; worker: string; model: string } {
  const { workers, worker_of: workerOf, models, model_of: modelOf } = index.value;
  return { rack: racks.value[at] ?? '', worker: workers[workerOf[at] ?? -1] ?? '', model: models[modelOf[at] ?? -1] ?? '' };
}

/** A moment of ours in the service's time. */
export const serviceTimeOf = (oursMs: number) => oursMs + clockSkewMs.peek();
export const liveNow = () => serviceTimeOf(performance.now());
/** The instant on display: spans and ages are taken to it. */
export const serviceNow = () => instant.peek() ?? liveNow();

export const paused = signal(false);
const MAX_WAITING = 1200;
let waiting: (string | ArrayBuffer)[] = [];

/** The holder of the connection; it is told when the state must be fetched again. */
let resync = () => {};
export function onResync(action: () => void): void {
  resync = action;
}

export function setPaused(next: boolean): void {
  paused.value = next;
  if (next) return;
  const late = waiting;
  waiting = [];
  if (late.length >= MAX_WAITING) resync();
  else batch(() => late.forEach(apply));
}

/** A message of the service, text or binary. */
export function receive(data: string | ArrayBuffer): void {
  // The past is on display. The connection begins anew afterwards.
  if (instant.peek() !== null) return;
  if (!paused.peek()) batch(() => apply(data));
  else if (waiting.length < MAX_WAITING) waiting.push(data);
}

type Hello = Extract<Told, { type: 'hello' }>;
type Delta = Extract<Told, { type: 'delta' }>;

let lastSeq = -1;
let lastEvent = 0;

function apply(data: string | ArrayBuffer): void {
  if (typeof data !== 'string') {
    const decoded = decodeFrame(data);
    if (!decoded) return;
    // A frame in another order than the names that we have would colour the wrong cells.
    const known = index.peek();
    if (decoded.revision === known.revision && decoded.count === known.nodes.length) frame.value = decoded;
    else void loadIndex(decoded.revision);
    return;
  }
  const message = JSON.parse(data) as Told;
  if (message.type === 'hello') applyHello(message);
  else if (message.type === 'delta') applyDelta(message);
}

function applyHello(hello: Hello): void {
  lastSeq = hello.seq;
  clockSkewMs.value = hello.at_ms - performance.now();
  takeFigures(hello.state);
  if (hello.state.node_index !== index.peek().revision) void loadIndex(hello.state.node_index);
  void loadSeries();
  void loadEvents();
}

function takeFigures(state: State): void {
  stats.value = state.stats;
  rate.value = state.rate;
  chaos.value = state.chaos ?? null;
  demo.value = state.demo;
  incidents.value = state.incidents ?? null;
  nodes.clear();
  for (const row of state.nodes) nodes.set(row.node, row);
  nodesVersion.value += 1;
  recentJobs.clear();
  for (const job of state.jobs) recentJobs.set(job.id, job);
  jobsVersion.value += 1;
}

function applyDelta(delta: Delta): void {
  if (delta.seq !== lastSeq + 1) {
    // Something was missed: a new connection begins with the whole state.
    lastSeq = delta.seq;
    resync();
    return;
  }
  lastSeq = delta.seq;
  takeChanges(delta);
  if (typeof delta.node_index === 'number' && delta.node_index !== index.peek().revision) void loadIndex(delta.node_index);
  if (delta.events?.length) {
    if ((delta.events_after ?? lastEvent) > lastEvent) void loadEvents();
    else addEvents(delta.events);
  }
  if (delta.point) appendPoint(delta.point);
}

function takeChanges(delta: Delta): void {
  if (delta.stats) stats.value = delta.stats;
  if (delta.rate) rate.value = delta.rate;
  if (delta.chaos) chaos.value = delta.chaos;
  if (delta.demo) demo.value = delta.demo;
  if (delta.incidents) incidents.value = delta.incidents;
  if (delta.nodes) {
    for (const row of delta.nodes.changed) nodes.set(row.node, row);
    for (const name of delta.nodes.removed) nodes.delete(name);
    nodesVersion.value += 1;
  }
  if (delta.jobs) {
    for (const job of delta.jobs.changed) recentJobs.set(job.id, job);
    for (const id of delta.jobs.removed) recentJobs.delete(id);
    jobsVersion.value += 1;
  }
}

/** What the time machine shows of an instant, instead of what comes live: nothing is loaded, and nothing is announced. */
export const pastSink = {
  told(message: Told): void {
    if (message.type === 'hello') {
      takeFigures(message.state);
      events.value = [];
      lastEvent = 0;
      addEvents(message.state.events, false);
    } else {
      takeChanges(message);
      addEvents(message.events ?? [], false);
    }
  },
  ordered(order: NodeIndex): void {
    index.value = order;
  },
};

export function showPastFrame(bytes: Uint8Array<ArrayBuffer>): void {
  frame.value = decodeFrame(bytes.slice().buffer);
}

/** The events of before an instant, as far as they are known: more than the state at it has. */
export function showPastEvents(items: NumberedEvent[]): void {
  if ((items.at(-1)?.seq ?? 0) < lastEvent) return;
  events.value = [];
  lastEvent = 0;
  addEvents(items, false);
}

/** Everything comes anew. */
export function leavePast(): void {
  events.value = [];
  lastEvent = 0;
  resync();
}

function addEvents(fresh: NumberedEvent[], announce = true): void {
  const news = fresh.filter((event) => event.seq > lastEvent);
  if (!news.length) return;
  lastEvent = news[news.length - 1]!.seq;
  const all = events.peek().concat(news);
  events.value = all.length > MAX_EVENTS ? all.slice(-MAX_EVENTS) : all;
  markEvents(news);
  if (announce) announceEvents(news);
}

let indexWanted = -1;
export async function loadIndex(revision = 0): Promise<void> {
  if (indexWanted === revision) return;
  indexWanted = revision;
  try {
    const order = await get<NodeIndex>('/nodes/index');
    // Of now, and the past may be on display meanwhile.
    if (instant.peek() === null) index.value = order;
    indexFailure.value = null;
  } catch (error) {
    // The next frame asks again.
    indexFailure.value = error;
  } finally {
    indexWanted = -1;
  }
}

let loadingEvents = false;

/** Events of before the connection, or those that a busy half second left out. */
async function loadEvents(): Promise<void> {
  if (loadingEvents) return;
  loadingEvents = true;
  try {
    if (lastEvent === 0) {
      const page = await get<EventsPage>('/events?limit=500');
      if (instant.peek() === null) addEvents(page.items, false);
      return;
    }
    for (;;) {
      const after = lastEvent;
      const page = await get<EventsPage>(`/events?after=${after}&limit=1000`);
      if (instant.peek() !== null) return;
      // The numbers that we have are of a history that has ended.
      if (page.began_again) lastEvent = 0;
      addEvents(page.items, !page.began_again);
      if (lastEvent === after || page.items.length === 0) return;
    }
  } catch {
    // The connection is lost again: the next hello asks again.
  } finally {
    loadingEvents = false;
  }
}
