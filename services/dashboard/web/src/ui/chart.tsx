// A time series on uPlot: up to three lines that differ in dash as well as in colour, a cursor shared by all charts of the page, and lines
// where a fault began, a node died or a leader changed. What the cursor points at stands in the heading.

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { clock, fixed } from '../lib/format';
import { markerLabel, series, seriesVersion, WINDOW_S } from '../lib/series';
import { colour, paletteVersion } from '../lib/theme';
import type { SeriesPoint } from '../lib/wire';
import { serviceNow } from '../lib/store';
import { useDrawing, useWidth } from './hooks';
import { Twin } from './parts';

export interface Line {
  key: keyof SeriesPoint;
  label: string;
  scale?: number;
  digits: number;
  unit: string;
  colour: string;
  dash?: number[];
  meanOf?: number;
}

const SHORTEST_WINDOW_S = 120;
const MOST_LINES = 60;

interface Props {
  title: string;
  lines: Line[];
  range?: [number, number];
  height?: number;
  minMax?: number;
}

const MARKER_COLOUR: Record<string, string> = {
  fault_began: '--warn',
  node_dead: '--bad',
  node_gone: '--bad',
  node_recovered: '--good',
  leader_elected: '--violet',
  leader_lost: '--violet',
};

/** The column of a line in its unit. Counts of single seconds say little at a few jobs a minute, hence a mean of the last `meanOf` rows. */
function columnOf(line: Line): (number | null)[] {
  const scale = line.scale ?? 1;
  const raw = series.peek()[line.key];
  const rows = line.meanOf ?? 1;
  let [sum, known] = [0, 0];
  return raw.map((value, at) => {
    const gone = at >= rows ? raw[at - rows]! : null;
    if (value !== null) [sum, known] = [sum + value, known + 1];
    if (gone !== null) [sum, known] = [sum - gone, known - 1];
    return value === null || known === 0 ? null : Math.max(0, sum / known) * scale;
  });
}

function columnsOf(lines: Line[]): uPlot.AlignedData {
  return [series.peek().t_ms.map((t) => (t ?? 0) / 1000), ...lines.map(columnOf)] as uPlot.AlignedData;
}

function drawMarkers(plot: uPlot): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  const [from, to] = [plot.scales.x!.min!, plot.scales.x!.max!];
  const visible = series.peek().markers.filter((marker) => marker.t_ms / 1000 >= from && marker.t_ms / 1000 <= to);
  // A line for each of hundreds would hide the curves: then only their heads are drawn.
  const length = visible.length > MOST_LINES ? 0 : bbox.height;
  for (const marker of visible) {
    const x = Math.round(plot.valToPos(marker.t_ms / 1000, 'x', true)) + 0.5;
    const recovered = marker.kind === 'node_recovered';
    ctx.strokeStyle = ctx.fillStyle = colour(MARKER_COLOUR[marker.kind] ?? '--ink-3');
    ctx.globalAlpha = 0.55;
    ctx.setLineDash(recovered ? [2 * devicePixelRatio, 3 * devicePixelRatio] : []);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + length);
    ctx.stroke();
    ctx.globalAlpha = 1;
    drawFlag(ctx, x, bbox.top, recovered);
  }
  ctx.restore();
}

function drawFlag(ctx: CanvasRenderingContext2D, x: number, top: number, upwards: boolean): void {
  const size = 4 * devicePixelRatio;
  ctx.beginPath();
  if (upwards) {
    ctx.arc(x, top + size / 2, size / 2, 0, Math.PI * 2);
  } else {
    ctx.moveTo(x - size, top);
    ctx.lineTo(x + size, top);
    ctx.lineTo(x, top + size * 1.3);
  }
  ctx.fill();
}

/** The newest quarter of an hour; less while less is known, but two minutes at least. */
function timeWindow(): [number, number] {
  const now = serviceNow() / 1000;
  const first = (series.peek().t_ms[0] ?? 0) / 1000;
  return [Math.max(now - WINDOW_S, Math.min(first, now - SHORTEST_WINDOW_S)), now];
}

function optionsOf({ lines, range, minMax }: Props, width: number, height: number, onCursor: (at: number | null) => void): uPlot.Options {
  const axis = {
    stroke: colour('--axis'),
    font: `11px ${colour('--font')}`,
    ticks: { show: false },
    grid: { stroke: colour('--grid'), width: 1 },
  };
  return {
    width,
    height,
    pxAlign: 1,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { y: false, sync: { key: 'overview' }, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: {
        time: true,
        range: () => timeWindow(),
      },
      y: { range: range ?? ((_, __, max) => [0, Math.max(minMax ?? 1, (max ?? 0) * 1.12)]) },
    },
    axes: [
      { ...axis, size: 26, space: 70, values: (_, ticks, _axis, _space, stepS) => ticks.map((tick) => clock(tick * 1000).slice(0, stepS < 60 ? 8 : 5)) },
      { ...axis, size: 38, space: 28, grid: { ...axis.grid } },
    ],
    series: [
      {},
      ...lines.map((line) => ({ stroke: colour(line.colour), width: 1.6, dash: line.dash, spanGaps: false, points: { show: false } })),
    ],
    hooks: { draw: [drawMarkers], setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

export function Chart(props: Props) {
  const { title, lines, height = 150 } = props;
  const [box, width] = useWidth();
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const palette = paletteVersion.value;

  useEffect(() => {
    if (!width || !box.current) return;
    const made = new uPlot(optionsOf(props, width, height, setAt), columnsOf(lines), box.current);
    // The table below is the accessible form; the drawing has a name and nothing else.
    made.root.setAttribute('role', 'img');
    made.root.setAttribute('aria-label', `${title}, last ${WINDOW_S / 60} minutes`);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [width, palette]);
  useDrawing([seriesVersion], () => plot.current?.setData(columnsOf(lines)), []);

  const all = series.value;
  void seriesVersion.value;
  const row = at ?? all.t_ms.length - 1;
  const columns = new Map(lines.map((line) => [line, columnOf(line)]));
  const valueOf = (line: Line, from: number) => columns.get(line)?.[from] ?? null;
  return (
    <section class="panel" aria-label={title}>
      <div class="chart-head">
        <h2>{title}</h2>
        {lines.map((line) => (
          <span class="chart-key" key={line.key}>
            <svg width="18" height="8" aria-hidden="true">
              <line x1="1" x2="17" y1="4" y2="4" stroke={`var(${line.colour})`} stroke-width="2" stroke-dasharray={line.dash?.join(' ')} />
            </svg>
            {line.label}{' '}
            <b>
              {fixed(valueOf(line, row), line.digits)}
              {line.unit}
            </b>
          </span>
        ))}
        {at !== null && all.t_ms[at] && <span class="chart-key">at {clock(all.t_ms[at]!)}</span>}
      </div>
      <div class="chart" ref={box} style={{ minHeight: `${height}px` }} />
      <div class="chart-twin">
        <Twin label={`${title} as a table`}>{() => <ChartTable lines={lines} valueOf={valueOf} />}</Twin>
      </div>
    </section>
  );
}

function ChartTable({ lines, valueOf }: { lines: Line[]; valueOf: (line: Line, row: number) => number | null }) {
  const all = series.value;
  const step = 15;
  const rows = all.t_ms
    .map((_, row) => row)
    .filter((row) => (all.t_ms.length - 1 - row) % step === 0)
    .reverse();
  const near = (t: number) => all.markers.filter((marker) => marker.t_ms > t - step * 1000 && marker.t_ms <= t);
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Time</th>
          {lines.map((line) => (
            <th scope="col" class="right" key={line.key}>
              {line.label}
            </th>
          ))}
          <th scope="col">Faults in the {step} s before</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((row) => (
          <tr key={all.t_ms[row]}>
            <td class="num">{clock(all.t_ms[row] ?? 0)}</td>
            {lines.map((line) => (
              <td class="num right" key={line.key}>
                {fixed(valueOf(line, row), line.digits)}
                {line.unit}
              </td>
            ))}
            <td>
              {near(all.t_ms[row] ?? 0)
                .map((marker) => `${marker.node ?? ''} ${markerLabel(marker.kind)}`.trim())
                .join(', ')}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
