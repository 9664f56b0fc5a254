// From what the service tells of a window to rows, lanes and rectangles. No drawing here, and no state.

import type { Bar, FaultSpan, Health, Window } from '../lib/wire';

export const LABEL_WIDTH = 132;
export const AXIS_HEIGHT = 26;
const LANE = 15;
const LANE_GAP = 3;
const ROW_PAD = 5;
/** Lanes that a row grows to; what runs beside even more shares the last one. */
const MOST_LANES = 8;
export const BAR_HEIGHT = LANE;

export interface Down {
  from: number;
  to: number;
  health: Health;
}
export interface Row {
  name: string;
  top: number;
  height: number;
  bars: Placed[];
  downs: Down[];
  faults: FaultSpan[];
}
export interface Placed {
  bar: Bar;
  lane: number;
  row: Row;
}
export interface Model {
  rows: Row[];
  height: number;
  byAttempt: Map<string, Placed>;
  from: number;
  to: number;
}

/** What was known at an instant: what began later is not there, and what ended later runs. */
export function windowAt(data: Window, at: number): Window {
  const bars = data.bars
    .filter((bar) => bar.start_ms <= at)
    .map((bar) => (bar.end_ms !== null && bar.end_ms !== undefined && bar.end_ms <= at ? bar : runningStill(bar)));
  const later = new Set(data.bars.filter((bar) => bar.start_ms > at).map((bar) => bar.attempt));
  return {
    ...data,
    bars: bars.map((bar) => (bar.next_attempt && later.has(bar.next_attempt) ? { ...bar, next_attempt: null } : bar)),
    verdicts: data.verdicts.filter((verdict) => verdict.at_ms <= at),
    faults: data.faults.filter((fault) => fault.from_ms <= at),
  };
}

const runningStill = (bar: Bar): Bar => ({ ...bar, end_ms: null, outcome: 'running', next_attempt: null, cause: null });

export const endOf = (bar: Bar, now: number) => bar.end_ms ?? now;
export const barTop = (placed: Placed) => placed.row.top + ROW_PAD + placed.lane * (LANE + LANE_GAP);

function downsOf(data: Window): Map<string, Down[]> {
  const result = new Map<string, Down[]>();
  for (const verdict of [...data.verdicts].sort((a, b) => a.at_ms - b.at_ms)) {
    const downs = result.get(verdict.node) ?? [];
    const last = downs[downs.length - 1];
    if (last && last.to === Infinity) last.to = verdict.at_ms;
    if (verdict.health !== 'alive') downs.push({ from: verdict.at_ms, to: Infinity, health: verdict.health });
    result.set(verdict.node, downs);
  }
  return result;
}

/** Each bar gets the first lane that is free when it begins. */
function placeBars(row: Row, bars: Bar[], now: number): number {
  const freeAt: number[] = [];
  for (const bar of bars.sort((a, b) => a.start_ms - b.start_ms)) {
    let lane = freeAt.findIndex((until) => until <= bar.start_ms);
    if (lane < 0) lane = freeAt.length < MOST_LANES ? freeAt.length : MOST_LANES - 1;
    freeAt[lane] = endOf(bar, now);
    row.bars.push({ bar, lane, row });
  }
  return Math.max(1, freeAt.length);
}

/** `idle`: names that get a row although nothing is known of them in this window. */
export function modelOf(data: Window, now: number, idle: readonly string[]): Model {
  const byNode = new Map<string, Bar[]>();
  for (const bar of data.bars) {
    const own = byNode.get(bar.node);
    if (own) own.push(bar);
    else byNode.set(bar.node, [bar]);
  }
  const downs = downsOf(data);
  const names = [...new Set([...idle, ...data.nodes, ...byNode.keys()])].sort();
  const model: Model = { rows: [], height: AXIS_HEIGHT, byAttempt: new Map(), from: data.from_ms, to: data.to_ms };
  for (const name of names) {
    const row: Row = {
      name,
      top: model.height,
      height: 0,
      bars: [],
      downs: downs.get(name) ?? [],
      faults: data.faults.filter((fault) => fault.node === name),
    };
    const lanes = placeBars(row, byNode.get(name) ?? [], now);
    row.height = ROW_PAD * 2 + lanes * (LANE + LANE_GAP) - LANE_GAP;
    for (const placed of row.bars) model.byAttempt.set(placed.bar.attempt, placed);
    model.rows.push(row);
    model.height += row.height;
  }
  return model;
}

/** Rows between two heights; rows are in order, so the first is found by halving. */
export function rowsBetween(model: Model, top: number, bottom: number): Row[] {
  let [low, high] = [0, model.rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (model.rows[middle]!.top + model.rows[middle]!.height < top) low = middle + 1;
    else high = middle;
  }
  const found: Row[] = [];
  for (let at = low; at < model.rows.length && model.rows[at]!.top <= bottom; at += 1) found.push(model.rows[at]!);
  return found;
}

export interface Scale {
  from: number;
  to: number;
  width: number;
}

export const xOf = (scale: Scale, ms: number) => LABEL_WIDTH + ((ms - scale.from) / (scale.to - scale.from)) * (scale.width - LABEL_WIDTH);
export const msOf = (scale: Scale, x: number) =>
  scale.from + ((x - LABEL_WIDTH) / Math.max(1, scale.width - LABEL_WIDTH)) * (scale.to - scale.from);

/** The bar under a point whose height counts from the top of all rows. */
export function barAt(model: Model, scale: Scale, x: number, y: number, now: number): Placed | null {
  for (const row of rowsBetween(model, y, y)) {
    for (let at = row.bars.length - 1; at >= 0; at -= 1) {
      const placed = row.bars[at]!;
      const top = barTop(placed);
      const [left, right] = [xOf(scale, placed.bar.start_ms), xOf(scale, endOf(placed.bar, now))];
      if (y >= top && y <= top + BAR_HEIGHT && x >= left - 2 && x <= Math.max(right, left + 4) + 2) return placed;
    }
  }
  return null;
}

export function rowAt(model: Model, y: number): Row | null {
  return rowsBetween(model, y, y).find((row) => y >= row.top && y < row.top + row.height) ?? null;
}

/** A time with its seconds, and a gap. */
const LABEL_ROOM_PX = 100;
const STEPS_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000];

export function ticksOf(scale: Scale): { at: number; step: number }[] {
  const room = Math.max(2, (scale.width - LABEL_WIDTH) / LABEL_ROOM_PX);
  const step = STEPS_MS.find((candidate) => (scale.to - scale.from) / candidate <= room) ?? 3_600_000;
  const ticks = [];
  for (let at = Math.ceil(scale.from / step) * step; at <= scale.to; at += step) ticks.push({ at, step });
  return ticks;
}
