// The cluster as columns, one row a second: the last quarter of an hour, or the whole hour once a chart wants it; fetched once a connection,
// then extended by the deltas.

import { signal } from '@preact/signals';
import { get } from './api';
import { instant } from './instant';
import type { Columns, Marker, NumberedEvent, SeriesPoint } from './wire';

export const WINDOW_S = 900;
const HOUR_S = 3600;
/** How much is kept here. */
let windowS = WINDOW_S;
const KEYS: (keyof SeriesPoint)[] = [
  't_ms',
  'arrivals_per_s',
  'completions_per_s',
  'queue',
  'running',
  'gpu_utilisation_percent',
  'gpu_allocated_percent',
  'temperature_max_c',
  'temperature_mean_c',
  'nodes_alive',
];

const empty = (): Columns => {
  const columns = Object.fromEntries(KEYS.map((key) => [key, []]));
  return { ...(columns as unknown as Omit<Columns, 'markers'>), markers: [] };
};

export const series = signal<Columns>(empty());
export const seriesVersion = signal(0);

/** Events that stand as a line in the charts. */
const MARKED: Record<string, string> = {
  fault_began: 'fault',
  node_dead: 'dead',
  node_gone: 'gone',
  node_recovered: 'recovered',
  leader_elected: 'leader',
  leader_lost: 'leader',
};

export async function loadSeries(): Promise<void> {
  try {
    const loaded = await get<Columns>(`/series?window_s=${windowS}`);
    if (instant.peek() !== null) return;
    series.value = { ...empty(), ...loaded };
    seriesVersion.value += 1;
  } catch {
    // Charts start with what comes live.
  }
}

/** A chart reaches back further than what is here. */
export function wantHour(): void {
  if (windowS === HOUR_S) return;
  windowS = HOUR_S;
  if (instant.peek() === null) void loadSeries();
}

/** The whole hour, for the time machine. */
let hour: Columns = empty();

export async function loadHour(): Promise<void> {
  hour = { ...empty(), ...(await get<Columns>(`/series?window_s=${HOUR_S}`)) };
}

/** What the charts would have shown at an instant. */
export function showSeriesAt(at: number): void {
  const times = hour.t_ms as number[];
  const end = times.findIndex((t) => t > at);
  const cut = <T>(column: T[]) => column.slice(0, end < 0 ? column.length : end);
  const columns = Object.fromEntries(KEYS.map((key) => [key, cut(hour[key] as unknown[])]));
  const markers = hour.markers.filter((marker) => marker.t_ms <= at);
  series.value = { ...(columns as unknown as Omit<Columns, 'markers'>), markers };
  seriesVersion.value += 1;
}

export function appendPoint(point: SeriesPoint): void {
  const columns = series.peek();
  const last = columns.t_ms[columns.t_ms.length - 1];
  if (last !== undefined && last !== null && point.t_ms <= last) return;
  const oldest = point.t_ms - windowS * 1000;
  const first = columns.t_ms[0];
  const drop = first !== undefined && first !== null && first < oldest;
  for (const key of KEYS) {
    const column: (number | null)[] = columns[key];
    column.push(point[key] ?? null);
    if (drop) column.shift();
  }
  columns.markers = columns.markers.filter((marker) => marker.t_ms >= oldest);
  seriesVersion.value += 1;
}

/** As many as the service keeps. */
const MAX_MARKERS = 2000;

export function markEvents(events: NumberedEvent[]): void {
  const columns = series.peek();
  const known = new Set(columns.markers.map((marker) => `${marker.t_ms} ${marker.kind} ${marker.node ?? ''}`));
  const fresh: Marker[] = events
    .filter((event) => isMarked(event.kind))
    .map((event) => ({ t_ms: event.at_ms, kind: event.kind, node: event.node ?? null, detail: event.detail }))
    .filter((marker) => !known.has(`${marker.t_ms} ${marker.kind} ${marker.node ?? ''}`));
  if (fresh.length) columns.markers = [...columns.markers, ...fresh].slice(-MAX_MARKERS);
}

export const isMarked = (kind: string) => kind in MARKED;
export const markerLabel = (kind: string) => MARKED[kind] ?? kind;
