// The heat map: a cell a node, by rack.

import { useEffect, useRef, useState } from 'preact/hooks';
import { inspect, param, setParams } from '../lib/route';
import { frame, index, placeOf, positions } from '../lib/store';
import { paletteVersion } from '../lib/theme';
import { cellAt, DRAINING, FAULTED, LATE, THROTTLED, type Cell } from '../lib/frame';
import { fixed, plural } from '../lib/format';
import { useDrawing, useWidth } from './hooks';
import { COLD_C, HeatPainter, HOT_C, MANY_JOBS, rampName, STEPS, type Mode } from './heat-paint';
import { layoutOf, nodeAt } from './heat-layout';
import { HeatArcs } from './heat-motion';
import { Empty, NodesLoading, Panel, Segmented, State, Twin } from './parts';

const MODES = [
  ['utilisation', 'Utilisation'],
  ['memory', 'Memory'],
  ['temperature', 'Temperature'],
  ['jobs', 'Jobs'],
  ['state', 'State'],
] as const;
const modeOf = (text: string): Mode => (MODES.some(([mode]) => mode === text) ? (text as Mode) : 'utilisation');

export function flagWords(flags: number): string {
  const said = [
    flags & DRAINING && 'draining',
    flags & THROTTLED && 'throttled',
    flags & FAULTED && 'under a fault',
    flags & LATE && 'heartbeat late',
  ];
  return said.filter(Boolean).join(', ');
}

export function HeatMap() {
  const mode = modeOf(param('heat'));
  const known = index.value.nodes.length;
  const aside = (
    <Segmented
      label="Colour by"
      value={mode}
      options={MODES}
      onChange={(next) => setParams({ heat: next === 'utilisation' ? null : next })}
    />
  );
  return (
    <Panel
      title={
        <>
          Nodes <span class="quiet">{known ? `${plural(known, 'node')} in ${plural(index.value.racks.length, 'rack')}` : ''}</span>
        </>
      }
      aside={aside}
    >
      <div class="stack">
        {index.value.revision < 0 ? (
          <NodesLoading />
        ) : known ? (
          <HeatCanvas mode={mode} />
        ) : (
          <Empty title="No node has registered yet">Workers register as soon as they are connected.</Empty>
        )}
        <HeatLegend mode={mode} />
        <Twin label="Heat map as a table">{() => <HeatTable />}</Twin>
      </div>
    </Panel>
  );
}

function HeatCanvas({ mode }: { mode: Mode }) {
  const [box, width] = useWidth();
  const canvas = useRef<HTMLCanvasElement>(null);
  const painter = useRef<HeatPainter | null>(null);
  const [hover, setHover] = useState<{ node: number; x: number; y: number } | null>(null);
  const current = index.value;
  const palette = paletteVersion.value;
  const layout = width ? layoutOf(current, width) : null;
  const height = layout?.height ?? 200;

  useEffect(() => {
    const ctx = canvas.current?.getContext('2d', { alpha: true });
    if (!ctx || !layout || !canvas.current) return;
    const scale = devicePixelRatio || 1;
    canvas.current.width = Math.round(width * scale);
    canvas.current.height = Math.round(height * scale);
    painter.current = new HeatPainter(ctx, layout, current.nodes, mode);
    painter.current.start(width, scale);
    painter.current.paint(frame.peek(), hover?.node ?? -1);
  }, [width, mode, palette, current]);
  useDrawing([frame], () => painter.current?.paint(frame.peek(), hover?.node ?? -1), [hover?.node]);

  const find = (event: MouseEvent) => {
    const area = canvas.current!.getBoundingClientRect();
    const [x, y] = [event.clientX - area.left, event.clientY - area.top];
    return { node: layout ? nodeAt(layout, x, y) : -1, x, y };
  };
  return (
    <div class="heat" ref={box}>
      <canvas
        ref={canvas}
        style={{ height: `${height}px` }}
        role="img"
        aria-label={`Heat map of ${current.nodes.length} nodes by ${mode}; the table below has the same`}
        onMouseMove={(event) => {
          const at = find(event);
          setHover(at.node < 0 ? null : at);
        }}
        onMouseLeave={() => setHover(null)}
        onClick={(event) => {
          const { node } = find(event);
          if (node >= 0) inspect(current.nodes[node]!);
        }}
      />
      {layout && <HeatArcs layout={layout} width={width} />}
      {hover && (
        <HeatTip
          name={current.nodes[hover.node]!}
          cell={frame.value ? cellAt(frame.value, hover.node) : null}
          x={hover.x}
          y={hover.y}
          width={width}
        />
      )}
    </div>
  );
}

function HeatTip({ name, cell, x, y, width }: { name: string; cell: Cell | null; x: number; y: number; width: number }) {
  const { model, rack } = placeOf(positions.value.get(name) ?? -1);
  const left = x > width - 240 ? x - 220 : x + 14;
  return (
    <div class="tip" style={{ left: `${left}px`, top: `${y + 14}px` }}>
      <b>{name}</b>
      {[model, rack].map((text) => text && ` · ${text}`)}
      <br />
      {cell ? (
        <>
          {cell.health}
          {flagWords(cell.flags) && `, ${flagWords(cell.flags)}`}
          <br />
          {fixed(cell.utilisation)} % busy · {fixed(cell.memory)} % memory · {fixed(cell.temperature)} °C
          <br />
          {plural(cell.running, 'running job')}
        </>
      ) : (
        'no telemetry'
      )}
    </div>
  );
}

/** What the first and the last step of a ramp stand for. */
const ENDS: Record<Exclude<Mode, 'state'>, [string, string]> = {
  utilisation: ['0 %', '100 %'],
  memory: ['0 %', '100 %'],
  temperature: [`${COLD_C} °C`, `${HOT_C} °C`],
  jobs: ['no job', `${MANY_JOBS} jobs and more`],
};

function HeatLegend({ mode }: { mode: Mode }) {
  const ramp = Array.from({ length: STEPS }, (_, step) => <i key={step} style={{ background: `var(${rampName(mode)}${step})` }} />);
  return (
    <div class="legend">
      {mode === 'state' ? (
        <>
          <span>
            <i style={{ background: 'var(--cell-alive)' }} />
            alive
          </span>
          <span>
            <i style={{ background: 'var(--cell-suspect)' }} />
            suspect (corner)
          </span>
        </>
      ) : (
        <span>
          {ENDS[mode][0]} <span class="ramp">{ramp}</span> {ENDS[mode][1]}
        </span>
      )}
      <span>
        <i class="hatched" />
        gone or dead
      </span>
      {mode !== 'state' && (
        <span>
          <i class="corner" />
          suspect
        </span>
      )}
      <span>
        <i class="underlined" />
        draining
      </span>
      <span>
        <i class="dotted" />
        under a fault
      </span>
    </div>
  );
}

const MOST_ROWS = 500;

function HeatTable() {
  const shown = frame.value;
  const all = index.value.nodes;
  return (
    <table>
      <caption class="hidden-text">
        {all.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${all.length} nodes; the page Nodes lists all` : 'All nodes'}
      </caption>
      <thead>
        <tr>
          <th scope="col">Node</th>
          <th scope="col">Rack</th>
          <th scope="col">State</th>
          <th scope="col" class="right">
            Utilisation
          </th>
          <th scope="col" class="right">
            Memory
          </th>
          <th scope="col" class="right">
            Temperature
          </th>
          <th scope="col" class="right">
            Running
          </th>
        </tr>
      </thead>
      <tbody>
        {all.slice(0, MOST_ROWS).map((name, at) => {
          const cell = shown ? cellAt(shown, at) : null;
          return (
            <tr key={name}>
              <td>
                <button class="link" onClick={() => inspect(name)}>
                  {name}
                </button>
              </td>
              <td>{placeOf(at).rack}</td>
              <td>
                {cell ? <State of={cell.health} /> : 'unknown'} {cell && flagWords(cell.flags)}
              </td>
              <td class="num right">{fixed(cell?.utilisation)} %</td>
              <td class="num right">{fixed(cell?.memory)} %</td>
              <td class="num right">{fixed(cell?.temperature)} °C</td>
              <td class="num right">{fixed(cell?.running)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
