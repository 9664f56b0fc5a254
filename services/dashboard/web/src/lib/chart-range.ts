// The stretch of time that all charts show: what was chosen, else the newest quarter of an hour, or as much of it as is known.

import { chosenSpan, rangeNow, type Range } from './range';
import { series, WINDOW_S } from './series';

export const DEFAULT_SPAN_MS = WINDOW_S * 1000;
const SHORTEST_SPAN_MS = 120_000;

export function chartRange(): Range {
  const range = rangeNow(DEFAULT_SPAN_MS);
  if (!range.follows || chosenSpan() !== null) return range;
  const first = series.peek().t_ms[0] ?? 0;
  return { ...range, from: Math.max(range.from, Math.min(first, range.to - SHORTEST_SPAN_MS)) };
}
