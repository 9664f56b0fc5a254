// The time machine: shows an instant of the last hour instead of now, plays on from it, and goes back to live. The state at an instant is read
// from a segment of the past (see `segment`) into the same signals that the live connection fills.

import { batch, computed, effect, signal } from '@preact/signals';
import { failureText, get, getBytes } from './api';
import { clock } from './format';
import { instant, isRecording } from './instant';
import { param, setParams } from './route';
import { Reader, segmentAt } from './segment';
import { signedOut } from './session';
import { snapshotOf, type Snapshot } from './snapshot';
import { leavePast, liveNow, pastSink, showPastEvents, showPastFrame } from './store';
import { loadHour, showSeriesAt } from './series';
import type { IncidentsPage, IncidentView, Kept, NumberedEvent, SegmentInfo } from './wire';

export const SPEEDS = [0.25, 0.5, 1, 2, 5, 10, 30, 60] as const;
export const speed = signal(1);
export const playing = signal(false);
/** What is kept; null before it was asked for. */
export const kept = signal<Kept | null>(null);
/** What had failed, oldest first, as far as it is known now: where one can jump to. */
export const failures = signal<IncidentView[]>([]);
/** Why an instant is not the one that was asked for, or cannot be shown. */
export const notice = signal('');

/** So long before an incident began: one sees it happen. */
const BEFORE_MS = 2000;
const TICK_MS = 100;
const SEGMENTS_CACHED = 12;
/** The address follows the slider when that has come to rest: browsers allow few changes a second. */
const SETTLE_MS = 250;
/** Playing that comes so near to now goes on live. */
const LIVE_EDGE_MS = 1500;

/** The stretch that the slider has. */
export const reach = computed(() => {
  const known = kept.value;
  return known?.from_ms && known.to_ms ? { from: known.from_ms, to: known.to_ms } : null;
});

const cached = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
let reader: { id: string; reader: Reader } | null = null;

/** A segment that still grows is asked for again when it has grown. */
function bytesOf(segment: SegmentInfo): Promise<Uint8Array<ArrayBuffer>> {
  const key = `${segment.id} ${segment.to_ms}`;
  let found = cached.get(key);
  if (!found) {
    found = getBytes(`/past/${segment.id}`);
    found.catch(() => cached.delete(key));
    cached.set(key, found);
    for (const oldest of [...cached.keys()].slice(0, Math.max(0, cached.size - SEGMENTS_CACHED))) cached.delete(oldest);
  }
  return found;
}

export async function loadKept(): Promise<void> {
  kept.value = await get<Kept>('/past');
}

export async function loadFailures(): Promise<void> {
  const page = await get<IncidentsPage>('/incidents?limit=200');
  failures.value = [...page.items].sort((a, b) => a.began_ms - b.began_ms);
}

/** The state at an instant, beside what is on display; null when it is not kept. */
export async function snapshotAt(at: number): Promise<Snapshot | null> {
  if (!isRecording && at > (kept.peek()?.to_ms ?? 0)) await loadKept();
  const segment = segmentAt(kept.peek()?.segments ?? [], at);
  return segment ? snapshotOf(await bytesOf(segment), at) : null;
}

let asked = 0;
let shownFor = 0;
let settleTimer = 0;

/** Puts the state at an instant on display, once it is here. The last one asked for counts. */
async function show(wanted: number): Promise<void> {
  const mine = (shownFor += 1);
  const segment = segmentAt(kept.peek()?.segments ?? [], wanted);
  if (!segment) return;
  const bytes = await bytesOf(segment);
  if (mine !== shownFor) return;
  const id = `${segment.id} ${segment.to_ms}`;
  batch(() => {
    // From here on what comes live is not shown.
    const isFirst = instant.peek() === null;
    instant.value = wanted;
    if (!reader || reader.id !== id || reader.reader.at > wanted) reader = { id, reader: new Reader(bytes) };
    if (reader.reader.readTo(wanted, pastSink)) showPastFrame(reader.reader.frame);
    else if (!isFirst) return;
    showSeriesAt(wanted);
  });
}

/** Events of before the segment, and the address: once the slider has come to rest. */
async function settle(): Promise<void> {
  const at = instant.peek();
  if (at === null) return;
  setParams({ t: String(Math.round(at)) });
  const page = await get<{ items: NumberedEvent[] }>(`/events?until_ms=${Math.round(at)}&limit=1000`);
  if (instant.peek() === at) showPastEvents(page.items);
}

function failed(error: unknown): void {
  notice.value = failureText(error);
  playing.value = false;
}

/** What of the past is loaded when one goes there, and again when its end is reached. */
let entered: Promise<unknown> | null = null;

async function enter(): Promise<void> {
  entered ??= Promise.all([loadKept(), loadHour(), loadFailures()]);
  await entered;
}

export async function goTo(wanted: number): Promise<void> {
  const mine = (asked += 1);
  try {
    await enter();
    const ends = reach.peek();
    if (mine !== asked) return;
    if (!ends) {
      notice.value = 'Nothing is kept yet';
      return;
    }
    const at = Math.min(Math.max(wanted, ends.from), Math.max(ends.to, isRecording ? 0 : liveNow() - LIVE_EDGE_MS));
    notice.value = Math.abs(at - wanted) < 2 * LIVE_EDGE_MS ? '' : `${clock(wanted)} is not kept: this is the nearest instant that is`;
    if (at > ends.to) await loadKept();
    await show(at);
    restSoon();
  } catch (error) {
    // The address keeps the instant: after signing in it is shown.
    entered = null;
    failed(error);
  }
}

function restSoon(): void {
  clearTimeout(settleTimer);
  settleTimer = window.setTimeout(() => void settle().catch(failed), SETTLE_MS);
}

export function backToLive(): void {
  asked += 1;
  shownFor += 1;
  playing.value = false;
  clearTimeout(settleTimer);
  if (isRecording || instant.peek() === null) return;
  instant.value = null;
  reader = null;
  entered = null;
  cached.clear();
  setParams({ t: null });
  leavePast();
}

let timer = 0;
let last = 0;

export function setPlaying(next: boolean): void {
  playing.value = next;
  clearInterval(timer);
  if (!next) {
    restSoon();
    return;
  }
  last = performance.now();
  timer = window.setInterval(tick, TICK_MS);
}

let busy = false;

async function tick(): Promise<void> {
  const [now, at] = [performance.now(), instant.peek()];
  if (!playing.peek() || at === null) {
    clearInterval(timer);
    return;
  }
  // A segment that takes long to come holds the clock: nothing is skipped.
  if (busy) {
    last = now;
    return;
  }
  busy = true;
  const next = at + (now - last) * speed.peek();
  last = now;
  try {
    await playTo(next);
  } catch (error) {
    failed(error);
  } finally {
    busy = false;
  }
}

async function playTo(next: number): Promise<void> {
  const ends = reach.peek();
  if (!ends) return;
  if (isRecording && next >= ends.to) {
    await show(ends.to);
    setPlaying(false);
    return;
  }
  if (!isRecording && next > liveNow() - LIVE_EDGE_MS) {
    backToLive();
    return;
  }
  if (next > ends.to) await Promise.all([loadKept(), loadHour()]);
  await show(next);
}

/** To just before the incident that began last, or first, before or after the instant on display. */
export async function jump(direction: -1 | 1): Promise<void> {
  const at = instant.peek() ?? liveNow();
  if (instant.peek() === null) {
    try {
      await loadFailures();
    } catch (error) {
      failed(error);
    }
  }
  const starts = failures.peek().map((incident) => incident.began_ms - BEFORE_MS);
  const found = direction < 0 ? starts.filter((start) => start < at - 1).at(-1) : starts.find((start) => start > at + 1);
  if (found === undefined) notice.value = direction < 0 ? 'No earlier incident is known' : 'No later incident is known';
  else await goTo(found);
}

export const replay = (incident: IncidentView) => goTo(incident.began_ms - BEFORE_MS);

/** Follows the address: a shared link, and the browser's back and forward. */
export function followAddress(): void {
  effect(() => {
    const named = Number(param('t'));
    if (signedOut.value) return;
    const shown = instant.peek();
    if (named > 0 && (shown === null || Math.abs(named - shown) > 1) && !playing.peek()) void goTo(named);
    else if (!named && shown !== null && !isRecording && settled) backToLive();
    settled = named > 0;
  });
}

/** Whether the address named an instant: one that is shown before the address does is not gone. */
let settled = false;
