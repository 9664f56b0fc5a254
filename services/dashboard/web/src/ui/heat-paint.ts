// Paints cells. A cell is painted again only when what it shows has changed, so ten thousand cost little twice a second.

import { colour } from '../lib/theme';
import { DRAINING, FAULTED, HEALTH_NAMES, STATE_MASK, readingAt, type Frame } from '../lib/frame';
import { hatching } from './hatch';
import { spotOf, type Layout } from './heat-layout';

export type Mode = 'utilisation' | 'memory' | 'temperature' | 'jobs' | 'state';

export const STEPS = 7;
/** Degrees Celsius at both ends of the ramp: idle and where GPUs throttle. */
export const COLD_C = 30;
export const HOT_C = 90;
/** As many running jobs, or more, have the last step of the ramp. */
export const MANY_JOBS = 8;

/** Where the reading of a mode stands among a node's bytes. */
const PLACES = { utilisation: 0, memory: 1, temperature: 2, jobs: 4 } as const;

const ALIVE = 0;
const SUSPECT = 1;
const LEFT = 4;

export const rampName = (mode: Mode) => (mode === 'temperature' ? '--warm-' : '--heat-');

function stepOf(mode: Mode, cells: Uint8Array, at: number): number {
  if (mode === 'state') return 0;
  if (mode === 'jobs') return Math.min(STEPS - 1, Math.ceil(((cells[at + PLACES.jobs] ?? 0) * (STEPS - 1)) / MANY_JOBS));
  const reading = readingAt(cells, at + PLACES[mode]) ?? 0;
  const share = mode === 'temperature' ? (reading - COLD_C) / (HOT_C - COLD_C) : reading / 200;
  return Math.max(0, Math.min(STEPS - 1, Math.floor(share * STEPS)));
}

export function valueText(mode: Mode, cells: Uint8Array, at: number): string {
  if (mode === 'state') return HEALTH_NAMES[(cells[at + 3] ?? LEFT) & STATE_MASK] ?? 'left';
  // How many run stands beside it anyway.
  if (mode === 'jobs') return cells[at + PLACES.jobs] ? '' : 'idle';
  const reading = readingAt(cells, at + PLACES[mode]);
  if (reading === null) return 'not reported';
  return mode === 'temperature' ? `${reading} °C` : `${Math.round(reading / 2)} %`;
}

/** Keeps what every cell shows. */
export class HeatPainter {
  private shown = new Int32Array(0);
  private hatch: CanvasPattern | null = null;

  constructor(
    private readonly ctx: CanvasRenderingContext2D,
    private readonly layout: Layout,
    private readonly names: string[],
    private readonly mode: Mode,
  ) {}

  start(width: number, scale: number): void {
    const { ctx, layout } = this;
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, layout.height);
    this.shown = new Int32Array(this.names.length).fill(-1);
    const period = layout.cellHeight < 12 ? 4 : 7;
    this.hatch = hatching(ctx, scale, period, period / 5);
    ctx.font = `550 11px ${colour('--font')}`;
    ctx.textBaseline = 'top';
    ctx.fillStyle = colour('--ink-2');
    if (layout.label) for (const block of layout.blocks) ctx.fillText(block.rack || 'no rack', block.x, block.y, 220);
  }

  /** Returns how many cells were painted. */
  paint(frame: Frame | null, selected: number): number {
    let painted = 0;
    for (const block of this.layout.blocks) {
      for (let offset = 0; offset < block.count; offset += 1) {
        const node = block.first + offset;
        const key = this.keyOf(frame, node, node === selected);
        if (this.shown[node] === key) continue;
        this.shown[node] = key;
        const { x, y } = spotOf(this.layout, block, offset);
        this.cell(frame, node, x, y, node === selected);
        painted += 1;
      }
    }
    return painted;
  }

  private keyOf(frame: Frame | null, node: number, selected: boolean): number {
    if (!frame || node >= frame.count) return selected ? 1 : 0;
    const at = node * 5;
    const exact = this.layout.named && this.mode !== 'state' ? frame.cells[at + PLACES[this.mode]]! : 0;
    const running = this.layout.named ? frame.cells[at + 4]! : 0;
    return (
      (2 | (selected ? 1 : 0)) + (stepOf(this.mode, frame.cells, at) << 2) + (frame.cells[at + 3]! << 6) + (exact << 14) + (running << 22)
    );
  }

  private cell(frame: Frame | null, node: number, x: number, y: number, selected: boolean): void {
    const {
      ctx,
      layout: { cellWidth: width, cellHeight: height, named, gap },
    } = this;
    ctx.clearRect(x - gap / 2, y - gap / 2, width + gap, height + gap);
    const known = frame !== null && node < frame.count;
    const at = node * 5;
    const state = known ? frame.cells[at + 3]! : LEFT;
    const health = state & STATE_MASK;
    const lost = health > SUSPECT && health < LEFT;
    const step = known ? stepOf(this.mode, frame.cells, at) : 0;
    ctx.fillStyle = this.fill(health, step);
    ctx.fillRect(x, y, width, height);
    if (lost && this.hatch) {
      ctx.fillStyle = this.hatch;
      ctx.fillRect(x, y, width, height);
    }
    if (named) this.text(known ? frame : null, node, x, y, lost, step);
    this.marks(state, x, y, step);
    if (selected) {
      ctx.strokeStyle = colour('--ink');
      ctx.lineWidth = 2;
      ctx.strokeRect(x + 1, y + 1, width - 2, height - 2);
    }
  }

  private fill(health: number, step: number): string {
    if (health === LEFT) return colour('--cell-left');
    if (health > SUSPECT) return colour('--cell-dead-back');
    if (this.mode === 'state') return colour(health === SUSPECT ? '--cell-suspect' : '--cell-alive');
    return colour(`${rampName(this.mode)}${step}`);
  }

  /** A wedge for suspect, a bar for draining, a dot for a fault: read without colour. */
  private marks(state: number, x: number, y: number, step: number): void {
    const {
      ctx,
      layout: { cellWidth: width, cellHeight: height },
    } = this;
    const health = state & STATE_MASK;
    const size = Math.max(4, Math.min(9, height / 2.2));
    if (health === SUSPECT) {
      ctx.fillStyle = this.mode === 'state' ? colour('--cell-mark') : colour('--cell-suspect');
      ctx.beginPath();
      ctx.moveTo(x + width, y);
      ctx.lineTo(x + width, y + size * 1.4);
      ctx.lineTo(x + width - size * 1.4, y);
      ctx.fill();
    }
    if (state & DRAINING) {
      ctx.fillStyle = this.onFill(health, step);
      ctx.fillRect(x, y + height - Math.max(2, height / 10), width, Math.max(2, height / 10));
    }
    if (state & FAULTED) {
      ctx.fillStyle = colour('--cell-dead');
      ctx.strokeStyle = colour('--surface');
      ctx.lineWidth = 1;
      ctx.beginPath();
      const inset = this.layout.named ? 5 : 0;
      ctx.arc(x + inset + size / 2 + 1, y + inset + size / 2 + 1, size / 2.4, 0, Math.PI * 2);
      ctx.fill();
      ctx.stroke();
    }
  }

  private onFill(health: number, step: number): string {
    if (health > ALIVE || this.mode === 'state') return colour('--cell-ink');
    const darkTheme = document.documentElement.dataset.theme === 'dark';
    // Ramps run from the page's own lightness to its opposite, so the text turns over in the middle.
    const strong = step >= 4;
    return strong === darkTheme ? '#0c1620' : '#ffffff';
  }

  private text(frame: Frame | null, node: number, x: number, y: number, lost: boolean, step: number): void {
    const {
      ctx,
      layout: { cellWidth, cellHeight },
    } = this;
    if (lost) {
      // Letters cannot be read on a hatching.
      ctx.fillStyle = colour('--cell-dead-back');
      ctx.fillRect(x + 4, y + 4, cellWidth - 8, cellHeight - 8);
    }
    const health = frame ? frame.cells[node * 5 + 3]! & STATE_MASK : LEFT;
    ctx.fillStyle = lost || health === LEFT ? colour('--ink') : this.textOn(health, step);
    ctx.font = `600 11.5px ${colour('--font')}`;
    const marked = frame !== null && (frame.cells[node * 5 + 3]! & FAULTED) !== 0;
    ctx.fillText(this.names[node] ?? '', x + (marked ? 16 : 8), y + 8, cellWidth - 18);
    ctx.font = `480 11.5px ${colour('--font')}`;
    const value = frame === null ? 'no telemetry' : lost ? (HEALTH_NAMES[health] ?? '') : valueText(this.mode, frame.cells, node * 5);
    ctx.fillText(value, x + 8, y + cellHeight - 20);
    const running = frame?.cells[node * 5 + 4] ?? 0;
    if (running > 0 && !lost) {
      ctx.textAlign = 'right';
      ctx.fillText(running === 1 ? '1 job' : `${running} jobs`, x + cellWidth - 8, y + cellHeight - 20);
      ctx.textAlign = 'left';
    }
  }

  private textOn(health: number, step: number): string {
    if (this.mode === 'state') return health === SUSPECT ? '#17202b' : '#ffffff';
    const darkTheme = document.documentElement.dataset.theme === 'dark';
    if (darkTheme) return step >= 3 ? '#06121e' : '#f2f6fa';
    return step >= 4 ? '#ffffff' : '#17202b';
  }
}
