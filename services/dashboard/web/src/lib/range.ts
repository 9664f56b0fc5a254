// The stretch of time that charts and timeline show. It is in the address: `span` while it follows now, else `from` and `to`, or `at` for half a
// minute around an instant. One is chosen for all of them; see `route` for how it goes along from page to page.

import { param, setParams } from './route';
import { serviceNow } from './store';

export const SHORTEST_MS = 1000;
export const LONGEST_MS = 3_600_000;
const AROUND_MS = 30_000;

/** What can be chosen by a button. */
export const SPANS = [
  [60_000, '1 min'],
  [300_000, '5 min'],
  [900_000, '15 min'],
  [3_600_000, '60 min'],
] as const;

export interface Range {
  from: number;
  to: number;
  follows: boolean;
}

/** How long a stretch that follows now is; null while none was chosen. */
export function chosenSpan(): number | null {
  const asked = Number(param('span'));
  return asked > 0 ? Math.min(LONGEST_MS, Math.max(SHORTEST_MS, asked)) : null;
}

export function rangeNow(otherwiseMs: number): Range {
  const [at, from, to] = [Number(param('at')), Number(param('from')), Number(param('to'))];
  if (from > 0 && to > from) return { from, to, follows: false };
  if (at > 0) return { from: at - AROUND_MS, to: at + AROUND_MS, follows: false };
  const end = serviceNow();
  return { from: end - (chosenSpan() ?? otherwiseMs), to: end, follows: true };
}

export const showRange = (from: number, to: number) =>
  setParams({ from: String(Math.round(from)), to: String(Math.round(Math.max(to, from + SHORTEST_MS))), at: null, span: null });

/** Follows now, with a span of its own or with the page's. */
export const followNow = (span: number | null = null) =>
  setParams({ from: null, to: null, at: null, span: span === null ? null : String(Math.round(span)) });
