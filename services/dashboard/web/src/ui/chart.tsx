// A time series on uPlot: up to three lines that differ in dash as well as in colour, a cursor and a stretch of time shared by all charts of the
// page, and lines where a fault began, a node died or a leader changed; the lane above them says which. What the cursor points at stands in
// the heading, whose height never changes. Dragging chooses the stretch.

import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { chartRange } from '../lib/chart-range';
import { savePng } from '../lib/export';
import { clock, fixed } from '../lib/format';
import { followNow, showRange } from '../lib/range';
import { params } from '../lib/route';
import { isMarked, markerLabel, series, seriesVersion } from '../lib/series';
import { colour, paletteVersion } from '../lib/theme';
import { ticksOf } from '../lib/ticks';
import type { SeriesPoint } from '../lib/wire';
import { useDrawing, useWidth } from './hooks';
import { Icon } from './icons';
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

/** More lines than these would hide the curves. */
const MOST_LINES = 40;
/** Events so near to each other have one line. */
const APART_PX = 4;
/** Room for half a label on the right, so that none is cut off. */
const RIGHT_PX = 26;

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
  const [from, to] = [plot.scales.x!.min!, plot.scales.x!.max!];
  const places = new Map<number, string>();
  for (const { t_ms: ms, kind } of series.peek().markers) {
    if (ms / 1000 < from || ms / 1000 > to || !isMarked(kind)) continue;
    const x = plot.valToPos(ms / 1000, 'x', true);
    places.set(Math.round(x / (APART_PX * devicePixelRatio)), kind);
  }
  if (places.size > MOST_LINES) return;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  ctx.globalAlpha = 0.45;
  for (const [place, kind] of places) {
    const x = place * APART_PX * devicePixelRatio + 0.5;
    ctx.strokeStyle = colour(MARKER_COLOUR[kind] ?? '--ink-3');
    ctx.setLineDash(kind === 'node_recovered' ? [2 * devicePixelRatio, 3 * devicePixelRatio] : []);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function timeWindow(): [number, number] {
  const { from, to } = chartRange();
  return [from / 1000, to / 1000];
}

/** Labels at round times; none twice, none cut off. */
function timeAxis(plot: uPlot, _axis: number, from: number, to: number): number[] {
  return ticksOf(from, to, plot.bbox.width / devicePixelRatio).at;
}

const timeLabels = (plot: uPlot, ticks: number[]): string[] => {
  const { withSeconds } = ticksOf(plot.scales.x!.min!, plot.scales.x!.max!, plot.bbox.width / devicePixelRatio);
  return ticks.map((tick) => clock(tick * 1000).slice(0, withSeconds ? 8 : 5));
};

/** The chart that is dragged in: the others follow its cursor, and must not choose too. */
let dragged: uPlot | null = null;

function onSelect(plot: uPlot): void {
  const { left, width } = plot.select;
  if (dragged !== plot || width < 6) return;
  dragged = null;
  const [from, to] = [plot.posToVal(left, 'x') * 1000, plot.posToVal(left + width, 'x') * 1000];
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  showRange(from, to);
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
    padding: [8, RIGHT_PX, 0, 0],
    cursor: {
      y: false,
      sync: { key: 'overview' },
      drag: { x: true, y: false, setScale: false },
      points: { size: 6 },
      bind: {
        mousedown: (plot, _target, handler) => (event) => {
          dragged = plot;
          return handler(event);
        },
        dblclick: () => () => {
          followNow();
          return null;
        },
      },
    },
    scales: {
      x: {
        time: true,
        range: () => timeWindow(),
      },
      y: { range: range ?? ((_, __, max) => [0, Math.max(minMax ?? 1, (max ?? 0) * 1.12)]) },
    },
    axes: [
      { ...axis, size: 26, splits: timeAxis, values: timeLabels },
      { ...axis, size: 38, space: 28, grid: { ...axis.grid } },
    ],
    series: [
      {},
      ...lines.map((line) => ({ stroke: colour(line.colour), width: 1.6, dash: line.dash, spanGaps: false, points: { show: false } })),
    ],
    hooks: { draw: [drawMarkers], setSelect: [onSelect], setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

/** Room for a value of four digits before the point, so that nothing moves when another one is read off. */
const widthOf = ({ digits, unit }: Line) => 4 + (digits && digits + 1) + unit.length;

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
    made.root.setAttribute('aria-label', `${title} over time`);
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = null;
    };
  }, [width, palette]);
  useDrawing([seriesVersion, params], () => plot.current?.setData(columnsOf(lines)), []);

  const all = series.value;
  void seriesVersion.value;
  const row = at ?? all.t_ms.length - 1;
  const columns = new Map(lines.map((line) => [line, columnOf(line)]));
  const valueOf = (line: Line, from: number) => columns.get(line)?.[from] ?? null;
  const png = () => {
    const keys = lines.map((line) => ({ text: line.label, colour: colour(line.colour), dash: line.dash ?? [] }));
    const look = { back: colour('--surface'), ink: colour('--ink'), font: colour('--font') };
    if (plot.current) savePng(plot.current.ctx.canvas, title, keys, look, chartRange().from);
  };
  return (
    <section class="panel" aria-label={title}>
      <div class="chart-head">
        <h2>{title}</h2>
        <span class="chart-key grow right">{at !== null && all.t_ms[at] ? `at ${clock(all.t_ms[at]!)}` : 'newest'}</span>
        {lines.map((line) => (
          <span class="chart-key" data-line key={line.key}>
            <svg width="18" height="8" aria-hidden="true">
              <line x1="1" x2="17" y1="4" y2="4" stroke={`var(${line.colour})`} stroke-width="2" stroke-dasharray={line.dash?.join(' ')} />
            </svg>
            {line.label}{' '}
            <b style={{ minWidth: `${widthOf(line)}ch` }}>
              {fixed(valueOf(line, row), line.digits)}
              {line.unit}
            </b>
          </span>
        ))}
      </div>
      <div class="chart" ref={box} style={{ minHeight: `${height}px` }} />
      <div class="chart-twin">
        <Twin label={`${title} as a table`}>{() => <ChartTable lines={lines} valueOf={valueOf} />}</Twin>
        <button class="link" aria-label={`${title} as a PNG picture`} onClick={png}>
          <Icon name="download" size={11} /> PNG
        </button>
      </div>
    </section>
  );
}

const MOST_ROWS = 60;

function ChartTable({ lines, valueOf }: { lines: Line[]; valueOf: (line: Line, row: number) => number | null }) {
  const all = series.value;
  const { from, to } = chartRange();
  const inside = all.t_ms.map((_, row) => row).filter((row) => all.t_ms[row]! >= from && all.t_ms[row]! <= to);
  const step = Math.max(1, Math.ceil(inside.length / MOST_ROWS));
  const rows = inside.filter((_, place) => (inside.length - 1 - place) % step === 0).reverse();
  const near = (t: number) => all.markers.filter((marker) => isMarked(marker.kind) && marker.t_ms > t - step * 1000 && marker.t_ms <= t);
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
