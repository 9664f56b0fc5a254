// Arcs above the heat map: interrupted jobs on their way from the node that they ran on to the one that they run on now. What moved is told
// by the incidents; this only remembers which of it was shown.

import type { IncidentView } from '../lib/wire';
import type { Spot } from './heat-layout';

/** How long a job is on its way, and how long its way can be seen. */
const FLIGHT_MS = 1100;
const SHOWN_MS = 3200;
/** Jobs of one incident start one after the other, so that many can be told apart; all of them within this time. */
const STAGGER_MS = 900;
/** More at once are a carpet: the others are left out. */
const MOST = 120;
/** Moves that were already there when the page began are history. */
const FRESH_MS = 4000;

export interface Arc {
  from: string;
  to: string;
  jobs: number;
  /** When it starts, in the page's time. */
  startMs: number;
}

/** Turns what the incidents say into arcs, each move once. */
export class Moves {
  private readonly seen = new Map<string, number>();

  /** The arcs of what has moved since the last call. */
  next(incidents: readonly IncidentView[], nowMs: number, serviceNowMs: number): Arc[] {
    const arcs: Arc[] = [];
    const kept = new Set<string>();
    for (const incident of incidents) {
      for (const { from, to, jobs, last_ms: lastMs } of incident.moves) {
        const key = `${incident.id} ${from} ${to}`;
        kept.add(key);
        const more = jobs - (this.seen.get(key) ?? 0);
        this.seen.set(key, jobs);
        if (more > 0 && serviceNowMs - lastMs < FRESH_MS && from !== to) arcs.push({ from, to, jobs: more, startMs: nowMs });
      }
    }
    for (const key of this.seen.keys()) if (!kept.has(key)) this.seen.delete(key);
    const shown = arcs.slice(0, MOST);
    return shown.map((arc, at) => ({ ...arc, startMs: nowMs + (shown.length > 1 ? (at / (shown.length - 1)) * STAGGER_MS : 0) }));
  }
}

/** The share of its flight that an arc has behind it, and how strongly it shows; none when it is over. */
export function stateOf(arc: Arc, nowMs: number, still: boolean): { done: number; strength: number } | null {
  const ageMs = nowMs - arc.startMs;
  if (ageMs >= SHOWN_MS) return null;
  if (ageMs < 0) return { done: 0, strength: 0 };
  // Without motion the whole way is there at once, and goes at once.
  if (still) return { done: 1, strength: 1 };
  const flight = Math.min(1, ageMs / FLIGHT_MS);
  const fading = Math.max(0, (ageMs - FLIGHT_MS) / (SHOWN_MS - FLIGHT_MS));
  return { done: 1 - (1 - flight) ** 3, strength: 1 - fading };
}

/** The point where the bow of an arc is pulled to: above the middle, higher the further it goes. */
export function summitOf(from: Spot, to: Spot): Spot {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  return { x: (from.x + to.x) / 2, y: Math.max(0, (from.y + to.y) / 2 - Math.min(140, 24 + length * 0.28)) };
}

function along(from: Spot, summit: Spot, to: Spot, at: number): Spot {
  const [a, b, c] = [(1 - at) ** 2, 2 * at * (1 - at), at ** 2];
  return { x: a * from.x + b * summit.x + c * to.x, y: a * from.y + b * summit.y + c * to.y };
}

export interface Ink {
  arc: string;
  edge: string;
}

/** Draws the arcs; false when none is left. `spot`: the middle of a node's cell. */
export function drawArcs(
  ctx: CanvasRenderingContext2D,
  arcs: readonly Arc[],
  spot: (node: string) => Spot | null,
  nowMs: number,
  still: boolean,
  ink: Ink,
): boolean {
  let isAnyLeft = false;
  for (const arc of arcs) {
    const state = stateOf(arc, nowMs, still);
    if (!state) continue;
    isAnyLeft = true;
    const [from, to] = [spot(arc.from), spot(arc.to)];
    if (!from || !to || state.strength <= 0) continue;
    const summit = summitOf(from, to);
    const head = along(from, summit, to, state.done);
    // The part of a quadratic curve up to a point is again one.
    const bend = { x: from.x + (summit.x - from.x) * state.done, y: from.y + (summit.y - from.y) * state.done };
    ctx.globalAlpha = state.strength;
    for (const [colour, width] of [
      [ink.edge, 4 + Math.min(4, arc.jobs)],
      [ink.arc, 1.5 + Math.min(4, arc.jobs * 0.6)],
    ] as const) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = width;
      ctx.beginPath();
      ctx.moveTo(from.x, from.y);
      ctx.quadraticCurveTo(bend.x, bend.y, head.x, head.y);
      ctx.stroke();
    }
    ctx.fillStyle = ink.arc;
    ctx.strokeStyle = ink.edge;
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.arc(head.x, head.y, 4.5, 0, Math.PI * 2);
    ctx.fill();
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
  return isAnyLeft;
}
