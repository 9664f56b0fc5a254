// Draws the visible rows: bars by outcome, crosses where attempts broke off, hatched intervals in which a node was gone or dead, faults as they
// really were, arrows from an interrupted attempt to the next one.

import { clock } from '../lib/format';
import { colour } from '../lib/theme';
import { hatching } from '../ui/hatch';
import {
  AXIS_HEIGHT,
  BAR_HEIGHT,
  barTop,
  endOf,
  LABEL_WIDTH,
  rowsBetween,
  ticksOf,
  xOf,
  type Model,
  type Placed,
  type Row,
  type Scale,
} from './timeline-model';

export interface Look {
  scale: Scale;
  scroll: number;
  height: number;
  now: number;
  brush: [number, number] | null;
  hover: string | null;
  job: string;
  focus: string;
  dpr: number;
}

const BROKEN = new Set(['failed', 'timed_out', 'lost']);

export function draw(ctx: CanvasRenderingContext2D, model: Model, look: Look): void {
  const { scale, height, dpr } = look;
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, scale.width, height);
  const rows = rowsBetween(model, look.scroll, look.scroll + height);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, AXIS_HEIGHT, scale.width, height - AXIS_HEIGHT);
  ctx.clip();
  ctx.translate(0, -look.scroll);
  const hatch = hatching(ctx, dpr, 7, 1.3);
  rows.forEach((row) => drawBackground(ctx, row, look, hatch));
  drawGrid(ctx, look);
  ctx.save();
  ctx.beginPath();
  ctx.rect(LABEL_WIDTH, look.scroll, scale.width - LABEL_WIDTH, height);
  ctx.clip();
  for (const row of rows) {
    drawFaults(ctx, row, look);
    for (const placed of row.bars) drawBar(ctx, placed, look);
  }
  for (const row of rows) for (const placed of row.bars) drawArrow(ctx, model, placed, look);
  ctx.restore();
  rows.forEach((row) => drawLabel(ctx, row, look));
  ctx.restore();
  drawAxis(ctx, look);
  drawBrush(ctx, look);
}

function drawBackground(ctx: CanvasRenderingContext2D, row: Row, { scale, focus }: Look, hatch: CanvasPattern | null): void {
  if (row.name === focus) {
    ctx.fillStyle = colour('--accent-back');
    ctx.fillRect(0, row.top, scale.width, row.height);
  }
  for (const down of row.downs) {
    const left = Math.max(LABEL_WIDTH, xOf(scale, down.from));
    const right = Math.min(scale.width, down.to === Infinity ? scale.width : xOf(scale, down.to));
    if (right <= left) continue;
    const suspect = down.health === 'suspect';
    ctx.fillStyle = suspect ? colour('--warn-back') : colour('--cell-dead-back');
    ctx.fillRect(left, row.top, Math.max(1.5, right - left), row.height);
    if (!suspect && hatch) {
      ctx.globalAlpha = 0.55;
      ctx.fillStyle = hatch;
      ctx.fillRect(left, row.top, right - left, row.height);
      ctx.globalAlpha = 1;
    }
    ctx.fillStyle = suspect ? colour('--warn') : colour('--bad');
    ctx.fillRect(left, row.top, 1.5, row.height);
    ctx.font = `600 10.5px ${colour('--font')}`;
    ctx.textBaseline = 'middle';
    if (right - left > 40) drawDownLabel(ctx, down.health, left, row);
  }
  ctx.fillStyle = colour('--grid');
  ctx.fillRect(0, row.top + row.height - 1, scale.width, 1);
}

function drawDownLabel(ctx: CanvasRenderingContext2D, text: string, left: number, row: Row): void {
  const ink = ctx.fillStyle;
  ctx.fillStyle = colour('--surface');
  ctx.fillRect(left + 3, row.top + row.height / 2 - 7, ctx.measureText(text).width + 6, 14);
  ctx.fillStyle = ink;
  ctx.fillText(text, left + 6, row.top + row.height / 2);
}

function drawGrid(ctx: CanvasRenderingContext2D, { scale, scroll, height }: Look): void {
  ctx.fillStyle = colour('--grid');
  for (const { at } of ticksOf(scale)) {
    const x = Math.round(xOf(scale, at));
    if (x > LABEL_WIDTH) ctx.fillRect(x, scroll, 1, height);
  }
}

function drawFaults(ctx: CanvasRenderingContext2D, row: Row, { scale, now }: Look): void {
  for (const fault of row.faults) {
    const left = xOf(scale, fault.from_ms);
    const right = Math.max(left + 3, xOf(scale, fault.until_ms ?? now));
    ctx.fillStyle = colour('--cell-suspect');
    ctx.fillRect(left, row.top + 1, right - left, 3);
    ctx.fillStyle = colour('--warn');
    ctx.beginPath();
    ctx.moveTo(left, row.top);
    ctx.lineTo(left + 7, row.top);
    ctx.lineTo(left, row.top + 8);
    ctx.fill();
  }
}

function drawBar(ctx: CanvasRenderingContext2D, placed: Placed, look: Look): void {
  const { bar } = placed;
  const { scale, now } = look;
  const left = xOf(scale, bar.start_ms);
  const right = xOf(scale, endOf(bar, now));
  if (right < LABEL_WIDTH || left > scale.width) return;
  const width = Math.max(2, right - left);
  const top = barTop(placed);
  const fill = colour(`--bar-${bar.outcome === 'timed_out' ? 'failed' : bar.outcome}`);
  ctx.globalAlpha = look.job && bar.job !== look.job ? 0.28 : 1;
  const hollow = bar.outcome === 'cancelled' || bar.outcome === 'superseded';
  ctx.fillStyle = hollow ? colour('--surface') : fill;
  ctx.beginPath();
  ctx.roundRect(left, top, width, BAR_HEIGHT, Math.min(3, width / 2));
  ctx.fill();
  if (hollow || look.hover === bar.attempt) {
    ctx.strokeStyle = hollow ? fill : colour('--ink');
    ctx.lineWidth = 1.5;
    ctx.stroke();
  }
  if (bar.outcome === 'running') drawOpenEnd(ctx, right, top);
  if (width > 46) drawName(ctx, bar.name, Math.max(left, LABEL_WIDTH) + 5, top, right, hollow ? colour('--ink') : colour('--bar-ink'));
  if (BROKEN.has(bar.outcome)) drawCross(ctx, right, top + BAR_HEIGHT / 2, bar.outcome === 'lost');
  ctx.globalAlpha = 1;
}

function drawName(ctx: CanvasRenderingContext2D, name: string, left: number, top: number, right: number, ink: string): void {
  const room = right - left - 8;
  if (room < 24) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, room, BAR_HEIGHT);
  ctx.clip();
  ctx.fillStyle = ink;
  ctx.font = `550 10.5px ${colour('--font')}`;
  ctx.textBaseline = 'middle';
  ctx.fillText(name, left, top + BAR_HEIGHT / 2 + 0.5);
  ctx.restore();
}

/** An attempt that still runs has no end yet: its right side is torn. */
function drawOpenEnd(ctx: CanvasRenderingContext2D, right: number, top: number): void {
  ctx.fillStyle = colour('--surface');
  for (let tooth = 0; tooth < 3; tooth += 1) {
    ctx.beginPath();
    ctx.moveTo(right + 0.5, top + tooth * 5);
    ctx.lineTo(right - 4, top + tooth * 5 + 2.5);
    ctx.lineTo(right + 0.5, top + tooth * 5 + 5);
    ctx.fill();
  }
}

/** A cross where a fault broke an attempt off, a single stroke where it failed by itself. */
function drawCross(ctx: CanvasRenderingContext2D, x: number, y: number, byFault: boolean): void {
  for (const [stroke, width] of [
    [colour('--surface'), 5],
    [colour(byFault ? '--bad' : '--warn'), 2.2],
  ] as const) {
    ctx.strokeStyle = stroke;
    ctx.lineWidth = width;
    ctx.lineCap = 'round';
    ctx.beginPath();
    ctx.moveTo(x + 4, y - 4);
    ctx.lineTo(x - 4, y + 4);
    if (byFault) {
      ctx.moveTo(x - 4, y - 4);
      ctx.lineTo(x + 4, y + 4);
    }
    ctx.stroke();
  }
  ctx.lineCap = 'butt';
}

function drawArrow(ctx: CanvasRenderingContext2D, model: Model, placed: Placed, look: Look): void {
  const next = placed.bar.next_attempt ? model.byAttempt.get(placed.bar.next_attempt) : undefined;
  if (!next) return;
  const { scale, now } = look;
  const [x0, y0] = [xOf(scale, endOf(placed.bar, now)) + 5, barTop(placed) + BAR_HEIGHT / 2];
  const [x1, y1] = [xOf(scale, next.bar.start_ms), barTop(next) + BAR_HEIGHT / 2];
  const bend = Math.max(14, Math.min(60, Math.abs(x1 - x0) / 2));
  ctx.globalAlpha = look.job && placed.bar.job !== look.job ? 0.2 : 0.9;
  ctx.strokeStyle = ctx.fillStyle = colour('--ink-2');
  ctx.lineWidth = 1.5;
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 3, y1);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x1 - 7, y1 - 4);
  ctx.lineTo(x1 - 7, y1 + 4);
  ctx.fill();
  ctx.globalAlpha = 1;
}

function drawLabel(ctx: CanvasRenderingContext2D, row: Row, { now }: Look): void {
  const down = row.downs.find((interval) => interval.from <= now && interval.to > now);
  ctx.fillStyle = down ? colour(down.health === 'suspect' ? '--warn' : '--bad') : colour('--ink');
  ctx.font = `${down ? 600 : 500} 12px ${colour('--font')}`;
  ctx.textBaseline = 'middle';
  ctx.fillText(row.name, 12, row.top + row.height / 2, LABEL_WIDTH - 20);
}

function drawAxis(ctx: CanvasRenderingContext2D, { scale, now, height }: Look): void {
  ctx.font = `11px ${colour('--font')}`;
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'center';
  ctx.fillStyle = colour('--axis');
  for (const { at, step } of ticksOf(scale)) {
    const x = xOf(scale, at);
    if (x > LABEL_WIDTH + 24 && x < scale.width - 24) ctx.fillText(clock(at, step < 1000), x, AXIS_HEIGHT / 2);
  }
  ctx.textAlign = 'left';
  ctx.fillStyle = colour('--line');
  ctx.fillRect(0, AXIS_HEIGHT - 1, scale.width, 1);
  ctx.fillRect(LABEL_WIDTH - 1, 0, 1, height);
  const x = xOf(scale, now);
  if (x <= scale.width) {
    ctx.fillStyle = colour('--accent');
    ctx.fillRect(x, AXIS_HEIGHT - 5, 1.5, height);
  }
}

function drawBrush(ctx: CanvasRenderingContext2D, { brush, height }: Look): void {
  if (!brush) return;
  const [left, right] = [Math.min(...brush), Math.max(...brush)];
  ctx.globalAlpha = 0.16;
  ctx.fillStyle = colour('--accent');
  ctx.fillRect(left, AXIS_HEIGHT, right - left, height);
  ctx.globalAlpha = 1;
  ctx.fillRect(left, AXIS_HEIGHT, 1, height);
  ctx.fillRect(right, AXIS_HEIGHT, 1, height);
}
