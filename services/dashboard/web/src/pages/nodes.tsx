// All nodes: cards while there are few, a virtualised table when there are many.

import { count, fixed, plural, shortId, span } from '../lib/format';
import { param, setParams } from '../lib/route';
import { frame, index, nodes, nodesVersion, positions, serviceNow } from '../lib/store';
import { cellAt, FAULTED, LATE, THROTTLED, type Cell, type NodeDetail, type NodeRow } from '../lib/wire';
import { inspect } from '../ui/drawer';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Empty, Loading, Meter, Panel, State } from '../ui/parts';
import { VirtualList } from '../ui/virtual';
import { get, query } from '../lib/api';
import { lastFrameAt, now } from '../lib/connection';
import { hasState } from '../lib/store';

const MOST_CARDS = 200;
const SORTS = { name: 'Name', utilisation: 'Utilisation', memory: 'Memory', temperature: 'Temperature', running: 'Running' } as const;
type Sort = keyof typeof SORTS;

export interface Shown {
  name: string;
  row: NodeRow | undefined;
  cell: Cell | null;
}

function wanted(): Shown[] {
  const [health, rack, worker, text] = [param('health'), param('rack'), param('worker'), param('q').toLowerCase()];
  const shown = frame.value;
  void nodesVersion.value;
  const found: Shown[] = [];
  for (const name of index.value.nodes) {
    const row = nodes.get(name);
    if ((rack && rackOf(name, row) !== rack) || (worker && row?.worker !== worker)) continue;
    if (text && !name.toLowerCase().includes(text) && !row?.model.toLowerCase().includes(text)) continue;
    const at = positions.value.get(name);
    const cell = shown && at !== undefined ? cellAt(shown, at) : null;
    const state = cell?.health ?? row?.health ?? 'left';
    if (health === 'draining' ? !row?.draining : health && state !== health) continue;
    found.push({ name, row, cell });
  }
  return sorted(found, (param('sort') || 'name') as Sort);
}

/** Large clusters push no rows; racks are in the index all the same. */
function rackOf(name: string, row: NodeRow | undefined): string {
  if (row) return row.rack;
  const at = positions.value.get(name) ?? -1;
  return index.value.racks.find(([, first, count]) => at >= first && at < first + count)?.[0] ?? '';
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
      {!hasState.value ? (
        <Loading rows={8} />
      ) : !total ? (
        <Empty title="No node has been heard of yet">
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
export function heartbeat(shown: Shown): string {
  if (shown.cell && !(shown.cell.flags & LATE) && shown.cell.health === 'alive') return '< 2 s';
  const known = shown.row?.heartbeat_age_ms;
  return known === undefined || known === null ? '> 2 s' : span(known + Math.max(0, now.value - lastFrameAt.value));
}

function Cards({ rows }: { rows: Shown[] }) {
  const power = usePower(rows);
  return (
    <ul class="cards">
      {rows.map((row) => (
        <Card key={row.name} shown={row} power={power.get(row.name)} />
      ))}
    </ul>
  );
}

/** Power is not in the frames: it is asked for, for the nodes on display. */
function usePower(rows: readonly Shown[]): Map<string, number> {
  const key = rows.length && rows.length <= MOST_CARDS ? `power ${rows.length}` : null;
  const page = useLoad(key, (signal) => get<{ items: NodeDetail[] }>(`/nodes${query({ per_page: MOST_CARDS })}`, signal), 2000);
  return new Map((page.data?.items ?? []).map((node) => [node.node, node.telemetry.reduce((sum, gpu) => sum + gpu.power_w, 0)]));
}

function Card({ shown, power }: { shown: Shown; power: number | undefined }) {
  const { name, row, cell } = shown;
  const health = cell?.health ?? row?.health ?? 'left';
  const down = health === 'dead' || health === 'gone';
  const jobs = row?.running_jobs ?? [];
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
        {row?.draining && <State of="draining" />}
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
          {row?.gpus ?? '–'} × {row?.model ?? 'unknown'}
        </span>
        {row?.rack && <span>{row.rack}</span>}
        <span title="power of all its GPUs">{fixed(power)} W</span>
        <span title="age of the last heartbeat">heartbeat {heartbeat(shown)}</span>
        {row?.phi !== undefined && row.phi !== null && <span title="suspicion: suspect at 8, dead at 12">phi {fixed(row.phi, 1)}</span>}
        {row?.fail_percent_per_min !== undefined && (
          <span title="simulated failures">fails {fixed(row.fail_percent_per_min, 1)} %/min</span>
        )}
        {cell && (cell.flags & THROTTLED) !== 0 && <span class="is-warn">throttled</span>}
        {row?.fault && (
          <span class="is-bad">
            <Icon name="fault" size={11} /> {row.fault.kind.replaceAll('_', ' ')}
            {row.fault.until_ms ? `, ${span(row.fault.until_ms - serviceNow())} left` : ''}
          </span>
        )}
      </div>
    </li>
  );
}

const COLUMNS = 'minmax(110px, 1.5fr) minmax(70px, 1fr) 104px minmax(70px, 1fr) minmax(70px, 1fr) 64px 68px 86px minmax(80px, 1fr)';

function NodeTable({ rows }: { rows: Shown[] }) {
  return (
    <Panel title={`${plural(rows.length, 'node')}`} flush>
      <div class="scroll-x">
        <div class="wide-table">
          <div class="vhead" style={{ gridTemplateColumns: COLUMNS }} aria-hidden="true">
            <span>Node</span>
            <span>Rack</span>
            <span>State</span>
            <span>Utilisation</span>
            <span>Memory</span>
            <span>Heat</span>
            <span>Running</span>
            <span>Heartbeat</span>
            <span>Worker</span>
          </div>
          <VirtualList
            rows={rows}
            rowHeight={34}
            height="min(70vh, 900px)"
            label="Nodes"
            keyOf={(row) => row.name}
            columns={COLUMNS}
            render={(shown) => <Row shown={shown} />}
          />
        </div>
      </div>
    </Panel>
  );
}

function Row({ shown }: { shown: Shown }) {
  const { name, row, cell } = shown;
  return (
    <>
      <button class="link clip" onClick={() => inspect(name)}>
        {name}
      </button>
      <span class="clip">{rackOf(name, row)}</span>
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
      <span>{fixed(cell?.running)}</span>
      <span>{heartbeat(shown)}</span>
      <span class="clip">{row?.worker}</span>
    </>
  );
}
