// What ran where and when: rows are nodes, bars attempts. The window is the stretch of time that the charts show too, see `range`.

import { useEffect, useRef, useState } from 'preact/hooks';
import { get, query } from '../lib/api';
import { clock, plural, span, words } from '../lib/format';
import { instant, isRecording } from '../lib/instant';
import { followNow, LONGEST_MS, rangeNow, SHORTEST_MS, showRange, type Range } from '../lib/range';
import { go, inspect, param, setParams } from '../lib/route';
import { index, paused, serviceNow } from '../lib/store';
import { paletteVersion } from '../lib/theme';
import type { Bar, FaultSpan, Window as Data } from '../lib/wire';
import { now } from '../lib/connection';
import { PageTitle } from '../ui/header';
import { useDrawing, useLoad, useWidth } from '../ui/hooks';
import { SpanChoice } from '../ui/lane';
import { Icon } from '../ui/icons';
import { Empty, Failed, Loading, State, Twin } from '../ui/parts';
import { draw } from './timeline-draw';
import { AXIS_HEIGHT, barAt, endOf, LABEL_WIDTH, modelOf, msOf, rowAt, windowAt, type Model, type Placed, type Scale } from './timeline-model';

const DEFAULT_SPAN_MS = 120_000;
const AHEAD_MS = 5000;

function windowNow(): Range {
  const range = rangeNow(DEFAULT_SPAN_MS);
  // A little room after now, so that a running bar's end is seen.
  return range.follows ? { ...range, to: range.to + (range.to - range.from) * 0.04 } : range;
}

function zoom(factor: number): void {
  const { from, to, follows } = windowNow();
  const wide = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (to - from) * factor));
  if (follows) followNow(wide);
  else showRange((from + to) / 2 - wide / 2, (from + to) / 2 + wide / 2);
}

function shift(share: number): void {
  const { from, to } = windowNow();
  showRange(from + (to - from) * share, to + (to - from) * share);
}

export function Timeline() {
  const affected = param('affected') === 'true';
  const fixed = windowNow();
  // While it plays, what is to come is asked for ahead.
  const chunk = instant.value === null ? '' : Math.floor(instant.value / AHEAD_MS);
  const key = fixed.follows ? `follow ${param('span')} ${affected} ${chunk}` : `${fixed.from} ${fixed.to} ${affected}`;
  const loaded = useLoad(
    key,
    (signal) => {
      const { from, to } = windowNow();
      const ahead = instant.peek() === null ? 0 : AHEAD_MS;
      return get<Data>(`/timeline${query({ from_ms: Math.floor(from), to_ms: Math.ceil(to + ahead), affected })}`, signal);
    },
    1000,
  );
  const data = loaded.data && instant.value !== null ? windowAt(loaded.data, instant.value) : loaded.data;
  return (
    <>
      <div class="page-head">
        <PageTitle>Timeline</PageTitle>
        <span class="sub num">
          {data
            ? `${plural(data.bars.length, 'attempt')} on ${plural(data.nodes.length, 'node')}${data.truncated ? ', more than can be shown: zoom in' : ''}`
            : ''}
        </span>
        <div class="actions">
          <Tools follows={fixed.follows} affected={affected} />
        </div>
      </div>
      <section class="panel" aria-label="Timeline">
        {loaded.error !== null && !data ? (
          <Failed what="The timeline cannot be loaded" error={loaded.error} retry={loaded.reload} />
        ) : !data ? (
          <div class="inset">
            <Loading rows={8} />
          </div>
        ) : !data.nodes.length && (affected || !index.value.nodes.length) ? (
          <Empty title={affected ? 'No node was affected in this window' : 'Nothing ran in this window'}>
            {affected ? 'Show all nodes, or choose an earlier window.' : 'Submit jobs, or choose an earlier window.'}
          </Empty>
        ) : (
          <TimelineCanvas data={data} affected={affected} />
        )}
        <Legend />
        <div class="inset">{data && <Twin label="Timeline as a table">{() => <BarTable data={data} />}</Twin>}</div>
      </section>
    </>
  );
}

function Tools({ follows, affected }: { follows: boolean; affected: boolean }) {
  const { from, to } = windowNow();
  return (
    <>
      <label class="check">
        <input
          type="checkbox"
          checked={affected}
          onChange={(event) => setParams({ affected: event.currentTarget.checked ? 'true' : null })}
        />
        only affected nodes
      </label>
      <SpanChoice label="Time range" />
      <div class="segmented" role="group" aria-label="Window">
        <button onClick={() => shift(-0.5)} aria-label="Earlier">
          ←
        </button>
        <button onClick={() => zoom(2)} aria-label="Zoom out">
          −
        </button>
        <button onClick={() => zoom(0.5)} aria-label="Zoom in">
          +
        </button>
        <button onClick={() => shift(0.5)} aria-label="Later">
          →
        </button>
      </div>
      <button aria-pressed={follows} onClick={() => (follows ? showRange(from, to) : followNow())}>
        <Icon name="play" size={11} />
        {instant.value === null ? 'Follow now' : 'Follow'}
      </button>
      {!isRecording && <a
        class="button"
        download="faultline-trace.json"
        href={`/api/v1/timeline/trace.json${query({ from_ms: Math.floor(from), to_ms: Math.ceil(to) })}`}
        title="Opens in ui.perfetto.dev or chrome://tracing"
      >
        <Icon name="download" />
        Export trace
      </a>}
    </>
  );
}

interface Hover {
  placed: Placed;
  x: number;
  y: number;
}

/** Of larger clusters only nodes of which something is known get a row. */
const MOST_IDLE_ROWS = 200;

function TimelineCanvas({ data, affected }: { data: Data; affected: boolean }) {
  const [box, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [brush, setBrush] = useState<[number, number] | null>(null);
  const [hover, setHover] = useState<Hover | null>(null);
  const model = modelOf(data, serviceNow(), affected || index.value.nodes.length > MOST_IDLE_ROWS ? [] : index.value.nodes);
  const scaleNow = (): Scale => ({ ...windowNow(), width });
  const visible = Math.min(model.height + 2, Math.max(260, innerHeight - 290));

  const paint = () => {
    const ctx = canvas.current?.getContext('2d');
    if (!ctx || !width || !box.current) return;
    const dpr = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * dpr), Math.round(visible * dpr)];
    if (canvas.current!.width !== wide || canvas.current!.height !== high) [canvas.current!.width, canvas.current!.height] = [wide, high];
    const end = paused.peek() ? data.to_ms : serviceNow();
    draw(ctx, model, {
      scale: scaleNow(),
      scroll: box.current.scrollTop,
      height: visible,
      now: end,
      brush,
      hover: hover?.placed.bar.attempt ?? null,
      job: param('job'),
      focus: param('focus'),
      dpr,
    });
  };
  useDrawing([now, paletteVersion], paint, [data, width, visible, brush, hover?.placed.bar.attempt, param('job'), param('focus')]);
  useFocusRow(box, model, data);

  const inRows = (y: number) => y + (box.current?.scrollTop ?? 0);
  const pointer = usePointer({ canvas, model, width, scaleNow, inRows, brush, setBrush, setHover });
  return (
    <div
      class="timeline"
      ref={box}
      style={{ height: `${visible}px` }}
      onScroll={paint}
      tabIndex={0}
      role="region"
      aria-label="Timeline: arrows move, plus and minus zoom, 0 follows now"
      onKeyDown={onTimelineKey}
    >
      <div class="sizer" style={{ height: `${model.height}px` }}>
        <canvas
          ref={canvas}
          style={{ width: `${width}px`, height: `${visible}px` }}
          role="img"
          aria-label={`${data.bars.length} attempts on ${model.rows.length} nodes; the table below has the same`}
          onPointerDown={pointer.down}
          onPointerMove={pointer.move}
          onPointerUp={pointer.up}
          onPointerLeave={() => setHover(null)}
          onDblClick={() => followNow()}
        />
      </div>
      {hover && <BarTip bar={hover.placed.bar} x={hover.x} y={inRows(hover.y)} width={width} />}
    </div>
  );
}

interface PointerProps {
  canvas: { current: HTMLCanvasElement | null };
  model: Model;
  width: number;
  scaleNow: () => Scale;
  inRows: (y: number) => number;
  brush: [number, number] | null;
  setBrush: (brush: [number, number] | null) => void;
  setHover: (hover: Hover | null) => void;
}

/** Dragging chooses a window, a click opens the job or the node under it. */
function usePointer({ canvas, model, width, scaleNow, inRows, brush, setBrush, setHover }: PointerProps) {
  const spot = (event: PointerEvent | MouseEvent) => {
    const area = canvas.current!.getBoundingClientRect();
    return { x: event.clientX - area.left, y: event.clientY - area.top };
  };
  const down = (event: PointerEvent) => {
    const { x } = spot(event);
    if (x < LABEL_WIDTH || event.button !== 0) return;
    canvas.current!.setPointerCapture(event.pointerId);
    setBrush([x, x]);
  };
  const move = (event: PointerEvent) => {
    const { x, y } = spot(event);
    if (brush) setBrush([brush[0], Math.max(LABEL_WIDTH, Math.min(width, x))]);
    const placed = y > AXIS_HEIGHT ? barAt(model, scaleNow(), x, inRows(y), serviceNow()) : null;
    setHover(placed ? { placed, x, y } : null);
  };
  const up = (event: PointerEvent) => {
    const { x, y } = spot(event);
    const began = brush?.[0];
    setBrush(null);
    if (began !== undefined && Math.abs(x - began) > 6) {
      const scale = scaleNow();
      const [from, to] = [msOf(scale, Math.min(began, x)), msOf(scale, Math.max(began, x))];
      showRange(from, to);
      return;
    }
    if (y <= AXIS_HEIGHT) return;
    const placed = barAt(model, scaleNow(), x, inRows(y), serviceNow());
    const row = rowAt(model, inRows(y));
    if (placed) go(`/jobs/${placed.bar.job}`);
    else if (x < LABEL_WIDTH && row) inspect(row.name);
  };
  return { down, move, up };
}

function onTimelineKey(event: KeyboardEvent): void {
  const action = {
    '+': () => zoom(0.5),
    '-': () => zoom(2),
    ArrowLeft: () => shift(-0.25),
    ArrowRight: () => shift(0.25),
    '0': () => followNow(),
  }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/** Scrolls to the node that a link pointed at, once. */
function useFocusRow(box: { current: HTMLDivElement | null }, model: Model, data: Data): void {
  const done = useRef('');
  const focus = param('focus');
  useEffect(() => {
    const row = model.rows.find((candidate) => candidate.name === focus);
    if (!row || done.current === focus || !box.current) return;
    done.current = focus;
    box.current.scrollTop = Math.max(0, row.top - box.current.clientHeight / 2);
  }, [focus, data]);
}

/** Such as: kill, by the dashboard. */
const causeText = ({ kind, by }: FaultSpan) => (by ? `${words(kind)}, by ${by}` : words(kind));

function BarTip({ bar, x, y, width }: { bar: Bar; x: number; y: number; width: number }) {
  const end = endOf(bar, serviceNow());
  return (
    <div class="tip" style={{ left: `${Math.min(x + 12, width - 250)}px`, top: `${y + 14}px` }}>
      <b>{bar.name}</b> · {bar.kind}
      <br />
      {bar.node}
      {bar.gpus.length ? `, GPU ${bar.gpus.join(', ')}` : ''}
      <br />
      {words(bar.outcome)} · {clock(bar.start_ms, true)} to {bar.end_ms ? clock(bar.end_ms, true) : 'now'} ({span(end - bar.start_ms)})
      {bar.cause && (
        <>
          <br />
          {causeText(bar.cause)}
        </>
      )}
    </div>
  );
}

function Legend() {
  const item = (name: string, label: string) => (
    <span key={label}>
      <i style={{ background: `var(--bar-${name})` }} />
      {label}
    </span>
  );
  return (
    <div class="legend inset">
      {item('running', 'running (torn end)')}
      {item('committed', 'done')}
      <span>
        <i style={{ background: 'var(--bar-lost)' }} />
        <Icon name="dead" size={11} class="is-bad" />
        interrupted by a fault
      </span>
      <span>
        <i style={{ background: 'var(--bar-failed)' }} />
        <Icon name="slash" size={11} class="is-warn" />
        failed by itself
      </span>
      <span>
        <i class="hollow" />
        cancelled or superseded
      </span>
      <span>
        <i class="hatched" />
        node gone or dead
      </span>
      <span>
        <i class="faulted" />
        fault
      </span>
      <span>→ next attempt</span>
      <span class="grow right">Drag to zoom, double-click to follow now, click a bar for its job</span>
    </div>
  );
}

const MOST_ROWS = 300;

function BarTable({ data }: { data: Data }) {
  const bars = [...data.bars].sort((a, b) => b.start_ms - a.start_ms);
  return (
    <table>
      <caption class="hidden-text">
        Attempts, newest first{bars.length > MOST_ROWS ? `, the newest ${MOST_ROWS} of ${bars.length}` : ''}
      </caption>
      <thead>
        <tr>
          <th scope="col">Began</th>
          <th scope="col">Ended</th>
          <th scope="col">Node</th>
          <th scope="col">Job</th>
          <th scope="col">Outcome</th>
          <th scope="col">Next attempt</th>
        </tr>
      </thead>
      <tbody>
        {bars.slice(0, MOST_ROWS).map((bar) => {
          const next = bar.next_attempt ? data.bars.find((other) => other.attempt === bar.next_attempt) : undefined;
          return (
            <tr key={bar.attempt} data-attempt={bar.attempt}>
              <td class="num">{clock(bar.start_ms, true)}</td>
              <td class="num">{bar.end_ms ? clock(bar.end_ms, true) : 'runs'}</td>
              <td>{bar.node}</td>
              <td>
                <a href={`/jobs/${bar.job}`}>{bar.name}</a>
              </td>
              <td>
                <State of={bar.outcome} />
                {bar.cause && ` by ${causeText(bar.cause)}`}
              </td>
              <td>
                {next
                  ? `on ${next.node}, ${span(next.start_ms - endOf(bar, next.start_ms))} later`
                  : bar.next_attempt
                    ? 'outside the window'
                    : ''}
              </td>
            </tr>
          );
        })}
        {data.verdicts.map((verdict) => (
          <tr key={`${verdict.node} ${verdict.at_ms}`}>
            <td class="num">{clock(verdict.at_ms, true)}</td>
            <td />
            <td>{verdict.node}</td>
            <td />
            <td>
              <State of={verdict.health} />
            </td>
            <td>verdict of the fault detector</td>
          </tr>
        ))}
        {data.faults.map((fault) => (
          <tr key={`${fault.node} ${fault.from_ms} ${fault.kind}`}>
            <td class="num">{clock(fault.from_ms, true)}</td>
            <td class="num">{fault.until_ms ? clock(fault.until_ms, true) : ''}</td>
            <td>{fault.node}</td>
            <td />
            <td>{words(fault.kind)}</td>
            <td>{fault.by ? `fault, by ${fault.by}` : 'fault, injected or of a real GPU'}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
