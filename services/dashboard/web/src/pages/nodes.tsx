// All nodes: cards while there are few, a virtualised table when there are many.

import { useState } from 'preact/hooks';
import { count, DASH, fixed, plural, shortId, span, words } from '../lib/format';
import { instant } from '../lib/instant';
import { inspect, param, setParams } from '../lib/route';
import { frame, index, nodes, nodesVersion, placeOf, serviceNow } from '../lib/store';
import { cellAt, DRAINING, FAULTED, LATE, THROTTLED, type Cell } from '../lib/frame';
import type { NodeDetail, NodeRow } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Empty, Meter, NodesLoading, Panel, State } from '../ui/parts';
import { VirtualList } from '../ui/virtual';
import { get, query } from '../lib/api';
import { lastFrameAt, now } from '../lib/connection';

const MOST_CARDS = 200;
const SORTS = { name: 'Name', utilisation: 'Utilisation', memory: 'Memory', temperature: 'Temperature', running: 'Running' } as const;
type Sort = keyof typeof SORTS;

interface Shown {
  name: string;
  rack: string;
  worker: string;
  model: string;
  row: NodeRow | undefined;
  cell: Cell | null;
}

function wanted(): Shown[] {
  const [health, inRack, ofWorker, text] = [param('health'), param('rack'), param('worker'), param('q').toLowerCase()];
  const shown = frame.value;
  void nodesVersion.value;
  const found: Shown[] = [];
  index.value.nodes.forEach((name, at) => {
    const { rack, worker, model } = placeOf(at);
    if ((inRack && rack !== inRack) || (ofWorker && worker !== ofWorker)) return;
    if (text && !name.toLowerCase().includes(text) && !model.toLowerCase().includes(text)) return;
    const [row, cell] = [nodes.get(name), shown ? cellAt(shown, at) : null];
    const draining = cell ? (cell.flags & DRAINING) !== 0 : row?.draining;
    if (health === 'draining' ? !draining : health && (cell?.health ?? row?.health ?? 'left') !== health) return;
    found.push({ name, rack, worker, model, row, cell });
  });
  return sorted(found, (param('sort') || 'name') as Sort);
}

function sorted(rows: Shown[], sort: Sort): Shown[] {
  if (sort === 'name' || !(sort in SORTS)) return rows;
  const value = (row: Shown) => row.cell?.[sort as 'utilisation'] ?? -1;
  return rows.sort((a, b) => value(b) - value(a) || a.name.localeCompare(b.name));
}

export function Nodes() {
  const rows = wanted();
  const total = index.value.nodes.length;
  const asTable = param('view') === 'table' || rows.length > MOST_CARDS;
  return (
    <>
      <div class="page-head">
        <PageTitle>Nodes</PageTitle>
        <span class="sub num">{rows.length === total ? plural(total, 'node') : `${count(rows.length)} of ${plural(total, 'node')}`}</span>
      </div>
      <NodeFilters />
      {index.value.revision < 0 ? (
        <NodesLoading rows={8} />
      ) : !total ? (
        <Empty title="No node has registered yet">
          Workers register as soon as they are connected: <code>faultline scale workers 8</code>
        </Empty>
      ) : !rows.length ? (
        <Empty title="No node matches the filters">
          <button class="link" onClick={clearFilters}>
            Clear them
          </button>
        </Empty>
      ) : asTable ? (
        <NodeTable rows={rows} />
      ) : (
        <Cards rows={rows} />
      )}
    </>
  );
}

const clearFilters = () => setParams({ health: null, rack: null, worker: null, q: null });

function NodeFilters() {
  const racks = index.value.racks.map(([rack]) => rack).filter(Boolean);
  return (
    <div class="filters">
      <label class="field">
        State
        <select value={param('health')} onChange={(event) => setParams({ health: event.currentTarget.value })}>
          <option value="">any</option>
          {['alive', 'suspect', 'gone', 'dead', 'draining'].map((state) => (
            <option key={state}>{state}</option>
          ))}
        </select>
      </label>
      <label class="field">
        Rack
        <select value={param('rack')} onChange={(event) => setParams({ rack: event.currentTarget.value })}>
          <option value="">any</option>
          {racks.slice(0, 1000).map((rack) => (
            <option key={rack}>{rack}</option>
          ))}
        </select>
      </label>
      <label class="field">
        Sort by
        <select
          value={param('sort') || 'name'}
          onChange={(event) => setParams({ sort: event.currentTarget.value === 'name' ? null : event.currentTarget.value })}
        >
          {Object.entries(SORTS).map(([key, label]) => (
            <option key={key} value={key}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label class="field wide">
        Name or model
        <input type="search" value={param('q')} maxLength={100} onInput={(event) => setParams({ q: event.currentTarget.value })} />
      </label>
      <button
        type="button"
        aria-pressed={param('view') === 'table'}
        onClick={() => setParams({ view: param('view') === 'table' ? null : 'table' })}
      >
        Table
      </button>
    </div>
  );
}

/** A heartbeat's age goes on growing between the frames that tell it. */
function heartbeat({ cell, row }: Shown, detail: NodeDetail | undefined): string {
  if (cell && !(cell.flags & LATE) && cell.health === 'alive') return '< 2 s';
  const known = row?.heartbeat_age_ms ?? detail?.heartbeat_age_ms;
  return known === undefined || known === null ? '> 2 s' : span(known + (instant.value === null ? Math.max(0, now.value - lastFrameAt.value) : 0));
}

/** What no frame tells of these nodes, such as power and suspicion: asked for, for those on display. */
function useDetails(names: string[]): Map<string, NodeDetail> {
  const asked = names.slice(0, MOST_CARDS);
  const load = (signal: AbortSignal) => get<{ items: NodeDetail[] }>(`/nodes${query({ nodes: asked.join(','), per_page: MOST_CARDS })}`, signal);
  // They are of now.
  const isPast = instant.value !== null;
  const page = useLoad(asked.length && !isPast ? `details ${asked.join(' ')}` : null, load, 2000);
  return new Map(isPast ? [] : (page.data?.items ?? []).map((node) => [node.node, node]));
}

/** What is told of a node beside its telemetry. Of clusters of more than 64 nodes no rows are pushed: then it is what was asked for. */
function told(row: NodeRow | undefined, detail: NodeDetail | undefined) {
  return {
    jobs: row?.running_jobs ?? detail?.running ?? [],
    phi: row?.phi ?? (detail && (detail.verdict?.phi ?? 0)),
    fails: row?.fail_percent_per_min ?? detail?.fault_percent_per_min,
    fault: row?.fault ?? detail?.fault,
    gpus: row?.gpus ?? detail?.gpus.length,
    draining: row?.draining ?? detail?.draining,
  };
}

/** Of the GPUs that report it; undefined where none does. */
function powerOf(detail: NodeDetail | undefined): number | undefined {
  const reported = (detail?.telemetry ?? []).flatMap((gpu) => gpu.power_w ?? []);
  return reported.length ? reported.reduce((sum, power) => sum + power, 0) : undefined;
}

function Cards({ rows }: { rows: Shown[] }) {
  const details = useDetails(rows.map((row) => row.name));
  return (
    <ul class="cards">
      {rows.map((row) => (
        <Card key={row.name} shown={row} detail={details.get(row.name)} />
      ))}
    </ul>
  );
}

function Card({ shown, detail }: { shown: Shown; detail: NodeDetail | undefined }) {
  const { name, row, cell } = shown;
  const health = cell?.health ?? row?.health ?? 'left';
  const down = health === 'dead' || health === 'gone';
  const { jobs, phi, fails, fault, gpus, draining } = told(row, detail);
  return (
    <li class={`card ${down ? 'down' : ''}`}>
      <div class="title">
        <a
          href={`?inspect=${encodeURIComponent(name)}`}
          class="grow clip"
          onClick={(event) => {
            event.preventDefault();
            inspect(name);
          }}
        >
          {name}
        </a>
        {draining && <State of="draining" />}
        <State of={health} />
      </div>
      <div class="meters">
        <span>GPU</span>
        <Meter label={`${name} utilisation`} value={cell?.utilisation ?? null} />
        <b>{fixed(cell?.utilisation)} %</b>
        <span>Memory</span>
        <Meter kind="memory" label={`${name} memory`} value={cell?.memory ?? null} />
        <b>{fixed(cell?.memory)} %</b>
        <span>Heat</span>
        <Meter kind="warm" label={`${name} temperature, of 100 °C`} value={cell?.temperature ?? null} />
        <b>{fixed(cell?.temperature)} °C</b>
      </div>
      <ul class="jobs">
        {jobs.slice(0, 3).map((run) => (
          <li key={run.job}>
            <a href={`/jobs/${run.job}`} class="mono">
              {shortId(run.job)}
            </a>
            <Meter kind="progress" label={`Progress of ${run.job}`} value={run.progress_permille / 10} />
            <span class="right">{fixed(run.progress_permille / 10)} %</span>
          </li>
        ))}
        {!jobs.length && <li class="quiet">{down ? 'its jobs were placed elsewhere' : 'idle'}</li>}
      </ul>
      <div class="facts-line">
        <span>
          {gpus ?? DASH} × {shown.model || 'unknown'}
        </span>
        {shown.rack && <span>{shown.rack}</span>}
        <span title="power of all its GPUs">{fixed(powerOf(detail))} W</span>
        <span title="age of the last heartbeat">heartbeat {heartbeat(shown, detail)}</span>
        {phi !== undefined && <span title="suspicion: suspect at 8, dead at 12">phi {fixed(phi, 1)}</span>}
        {fails !== undefined && <span title="simulated failures">fails {fixed(fails, 1)} %/min</span>}
        {cell && (cell.flags & THROTTLED) !== 0 && <span class="is-warn">throttled</span>}
        {fault && (
          <span class="is-bad">
            <Icon name="fault" size={11} /> {words(fault.kind)}
            {fault.until_ms ? `, ${span(fault.until_ms - serviceNow())} left` : ''}
          </span>
        )}
      </div>
    </li>
  );
}

const COLUMNS = [
  ['Node', 'minmax(110px, 1.4fr)'],
  ['Rack', 'minmax(64px, .8fr)'],
  ['State', '104px'],
  ['Utilisation', 'minmax(80px, 1fr)'],
  ['Memory', 'minmax(80px, 1fr)'],
  ['Heat', '54px'],
  ['Power', '64px'],
  ['Jobs', 'minmax(96px, 1fr)'],
  ['Heartbeat', '78px'],
  ['Phi', '44px'],
  ['Fails', '74px'],
  ['Worker', 'minmax(88px, 1fr)'],
] as const;
const WIDTHS = COLUMNS.map(([, width]) => width).join(' ');

function NodeTable({ rows }: { rows: Shown[] }) {
  const [visible, setVisible] = useState<string[]>([]);
  const details = useDetails(visible);
  return (
    <Panel title={`${plural(rows.length, 'node')}`} flush>
      <div class="scroll-x">
        <div class="node-table">
          <div class="vhead" style={{ gridTemplateColumns: WIDTHS }} aria-hidden="true">
            {COLUMNS.map(([title]) => (
              <span key={title}>{title}</span>
            ))}
          </div>
          <VirtualList
            rows={rows}
            rowHeight={34}
            height="min(70vh, 900px)"
            label="Nodes"
            keyOf={(row) => row.name}
            columns={WIDTHS}
            onVisible={(shown) => setVisible(shown.map((row) => row.name))}
            render={(shown) => <Row shown={shown} detail={details.get(shown.name)} />}
          />
        </div>
      </div>
    </Panel>
  );
}

function Row({ shown, detail }: { shown: Shown; detail: NodeDetail | undefined }) {
  const { name, rack, worker, row, cell } = shown;
  const { jobs, phi, fails } = told(row, detail);
  const [run] = jobs;
  return (
    <>
      <button class="link clip" onClick={() => inspect(name)}>
        {name}
      </button>
      <span class="clip">{rack}</span>
      <span class="clip">
        <State of={cell?.health ?? row?.health ?? 'left'} />
        {cell && (cell.flags & FAULTED) !== 0 && <Icon name="fault" size={12} class="is-warn" />}
      </span>
      <span class="cell-meter">
        <Meter label={`${name} utilisation`} value={cell?.utilisation ?? null} />
        {fixed(cell?.utilisation)} %
      </span>
      <span class="cell-meter">
        <Meter kind="memory" label={`${name} memory`} value={cell?.memory ?? null} />
        {fixed(cell?.memory)} %
      </span>
      <span>{fixed(cell?.temperature)} °C</span>
      <span>{fixed(powerOf(detail))} W</span>
      <span class="clip">
        {fixed(cell?.running)}
        {run && (
          <>
            {': '}
            <a href={`/jobs/${run.job}`} class="mono">
              {shortId(run.job)}
            </a>{' '}
            {fixed(run.progress_permille / 10)} %
          </>
        )}
      </span>
      <span>{heartbeat(shown, detail)}</span>
      <span title="suspicion: suspect at 8, dead at 12">{fixed(phi, 1)}</span>
      <span title="simulated failures">{fixed(fails, 1)} %/min</span>
      <span class="clip">{worker}</span>
    </>
  );
}
