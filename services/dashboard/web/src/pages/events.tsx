// The log of the cluster: filters are asked of the service, what comes live is added, and only visible rows exist.

import { signal } from '@preact/signals';
import { get, query } from '../lib/api';
import { clock, count, instant, words } from '../lib/format';
import { inspect, param, setParams } from '../lib/route';
import { events } from '../lib/store';
import type { NumberedEvent, Level } from '../lib/wire';
import { instantLink, shapeOf, toneOfEvent } from '../ui/event-line';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Empty, Failed, Loading, Panel, State } from '../ui/parts';
import { VirtualList } from '../ui/virtual';

const LEVELS: Level[] = ['debug', 'info', 'warn', 'error'];
const KINDS: Record<string, string[]> = {
  Jobs: ['job_placed', 'job_dead', 'job_cancelled', 'job_abandoned'],
  Attempts: ['attempt_failed', 'attempt_lost', 'attempt_superseded'],
  Nodes: ['node_joined', 'node_left', 'node_suspect', 'node_gone', 'node_dead', 'node_recovered', 'node_drained', 'node_undrained'],
  Faults: ['fault_began', 'fault_ended'],
  Cluster: ['leader_elected', 'leader_lost', 'rate_changed', 'workers_scaled', 'invariant_violated', 'repaired', 'policy_failed', 'policy_recovered'],
};
const MOST = 1000;
const COLUMNS = '84px 84px minmax(92px, 130px) minmax(110px, 150px) minmax(90px, 140px) minmax(160px, 1fr)';

export interface Filter {
  level: string;
  service: string;
  node: string;
  kind: string;
  job: string;
  /** A part of what happened, of a name, or of an id. */
  q: string;
}

const has = ({ detail, node, job, service, kind }: NumberedEvent, text: string) =>
  [detail, node, job, service, words(kind)].some((field) => field?.toLowerCase().includes(text));

export function matches(event: NumberedEvent, filter: Filter): boolean {
  return (
    (!filter.level || LEVELS.indexOf(event.level) >= LEVELS.indexOf(filter.level as Level)) &&
    (!filter.service || event.service === filter.service) &&
    (!filter.node || event.node === filter.node) &&
    (!filter.kind || event.kind === filter.kind) &&
    (!filter.job || event.job === filter.job) &&
    (!filter.q || has(event, filter.q.toLowerCase()))
  );
}

export const filterNow = (): Filter => ({
  level: param('level'),
  service: param('service'),
  node: param('node'),
  kind: param('kind'),
  job: param('job'),
  q: param('q'),
});

export function Events() {
  const filter = filterNow();
  // Older ones than the newest thousand: up to an instant, and then nothing is added.
  const until = Number(param('until'));
  const key = query({ ...filter, q: null, until_ms: until || null, limit: MOST });
  const loaded = useLoad(key, (signal) => get<{ items: NumberedEvent[] }>(`/events${key}`, signal));
  const live = events.value;
  const past = loaded.data && !loaded.loading ? loaded.data.items : [];
  const newest = past.length ? past[past.length - 1]!.seq : 0;
  const fresh = until ? [] : live.filter((event) => event.seq > newest && matches(event, filter));
  const rows = [...past.filter((event) => matches(event, filter)), ...fresh].reverse();
  const oldest = past[0];
  const services = [...new Set(live.map((event) => event.service))].sort();
  return (
    <>
      <div class="page-head">
        <PageTitle>Events</PageTitle>
        <span class="sub num">
          {count(rows.length)} newest first{until ? `, up to ${clock(until)}` : ''}
        </span>
        <div class="actions">
          {until > 0 && <button onClick={() => setParams({ until: null })}>Newest</button>}
          {oldest && past.length >= MOST && <button onClick={() => setParams({ until: String(oldest.at_ms) })}>Older</button>}
        </div>
      </div>
      <EventFilters filter={filter} services={services} />
      {loaded.error !== null && !rows.length ? (
        <Failed what="The events cannot be loaded" error={loaded.error} retry={loaded.reload} />
      ) : loaded.loading && !rows.length ? (
        <Loading rows={10} />
      ) : !rows.length ? (
        <Empty title="No event matches">History is kept for an hour.</Empty>
      ) : (
        <>
          <Histogram rows={rows} />
          <EventTable rows={rows} />
        </>
      )}
    </>
  );
}

function Choice({ label, name, value, options }: { label: string; name: string; value: string; options: Record<string, string[]> }) {
  const isOther = value && !Object.values(options).flat().includes(value);
  return (
    <label class="field">
      {label}
      <select value={value} onChange={(event) => setParams({ [name]: event.currentTarget.value })}>
        <option value="">any</option>
        {isOther && <option value={value}>{words(value)}</option>}
        {Object.entries(options).map(([group, names]) => (
          <optgroup key={group} label={group}>
            {names.map((option) => (
              <option key={option} value={option}>
                {words(option)}
              </option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  );
}

export function EventFilters({ filter, services }: { filter: Filter; services: string[] }) {
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <label class="field">
        Level
        <select value={filter.level} onChange={(event) => setParams({ level: event.currentTarget.value })}>
          <option value="">any</option>
          {LEVELS.slice(1).map((level) => (
            <option key={level} value={level}>
              {level} and worse
            </option>
          ))}
        </select>
      </label>
      <Choice label="Kind" name="kind" value={filter.kind} options={KINDS} />
      <label class="field">
        Service
        <select value={filter.service} onChange={(event) => setParams({ service: event.currentTarget.value })}>
          <option value="">any</option>
          {[...new Set([...services, ...(filter.service ? [filter.service] : [])])].map((service) => (
            <option key={service}>{service}</option>
          ))}
        </select>
      </label>
      <label class="field">
        Node
        <input
          value={filter.node}
          placeholder="gpu-node-03"
          maxLength={100}
          onChange={(event) => setParams({ node: event.currentTarget.value.trim() })}
        />
      </label>
      <label class="field wide">
        Text
        <input
          value={filter.q}
          placeholder="a part of what happened"
          maxLength={100}
          onInput={(event) => setParams({ q: event.currentTarget.value })}
        />
      </label>
      {Object.values(filter).some(Boolean) && (
        <button type="button" onClick={() => setParams({ level: null, kind: null, service: null, node: null, job: null, q: null, until: null })}>
          Clear
        </button>
      )}
    </form>
  );
}

const BINS = 80;
const BIN_HEIGHT = 36;

/** How many of the rows there were when, the grave ones on top of the others. */
function Histogram({ rows }: { rows: NumberedEvent[] }) {
  const [from, to] = [rows.at(-1)!.at_ms, Math.max(rows[0]!.at_ms, rows.at(-1)!.at_ms + 1)];
  const bins = Array.from({ length: BINS }, () => ({ all: 0, grave: 0 }));
  for (const { at_ms: at, level } of rows) {
    const bin = bins[Math.min(BINS - 1, Math.floor(((at - from) / (to - from)) * BINS))];
    if (!bin) continue;
    bin.all += 1;
    if (level === 'warn' || level === 'error') bin.grave += 1;
  }
  const most = Math.max(...bins.map(({ all }) => all));
  const bar = (at: number, low: number, high: number, fill: string) =>
    high > low && (
      <rect key={`${at} ${fill}`} x={at + 0.1} width={0.8} y={BIN_HEIGHT - (high / most) * BIN_HEIGHT} height={((high - low) / most) * BIN_HEIGHT} fill={`var(${fill})`} />
    );
  return (
    <section class="panel histogram" aria-label="Events over time">
      <svg viewBox={`0 0 ${BINS} ${BIN_HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${count(rows.length)} events from ${clock(from)} to ${clock(to)}, at most ${most} in a bar`}>
        {bins.map(({ all, grave }, at) => [bar(at, 0, all - grave, '--series-1'), bar(at, all - grave, all, '--series-3')])}
      </svg>
      <p class="quiet num">
        <span>{clock(from)}</span>
        <span>blue: info; orange, above it: warnings and errors</span>
        <span>{clock(to)}</span>
      </p>
    </section>
  );
}

/** On a phone what happened comes first: two lines a row, and nothing to the side. */
const narrow = matchMedia('(max-width: 640px)');
const isNarrow = signal(narrow.matches);
narrow.addEventListener('change', () => (isNarrow.value = narrow.matches));
const NARROW_COLUMNS = '62px minmax(0, 1fr)';

export function EventTable({ rows }: { rows: NumberedEvent[] }) {
  const list = { rows, height: 'min(72vh, 1000px)', label: 'Events', keyOf: (event: NumberedEvent) => event.seq };
  if (isNarrow.value)
    return (
      <Panel title="Log" flush>
        <VirtualList {...list} rowHeight={56} columns={NARROW_COLUMNS} render={(event) => <NarrowRow event={event} />} />
      </Panel>
    );
  return (
    <Panel title="Log" flush>
      <div class="scroll-x">
        <div class="wide-table">
          <div class="vhead" style={{ gridTemplateColumns: COLUMNS }} aria-hidden="true">
            <span>Time</span>
            <span>Level</span>
            <span>Service</span>
            <span>Kind</span>
            <span>Node</span>
            <span>What happened</span>
          </div>
          <VirtualList {...list} rowHeight={32} columns={COLUMNS} render={(event) => <Row event={event} />} />
        </div>
      </div>
    </Panel>
  );
}

function When({ event, tenths }: { event: NumberedEvent; tenths: boolean }) {
  return (
    <a href={instantLink(event)} title="Show on the timeline">
      <time dateTime={new Date(event.at_ms).toISOString()} title={instant(event.at_ms)}>
        {clock(event.at_ms, tenths)}
      </time>
    </a>
  );
}

function NarrowRow({ event }: { event: NumberedEvent }) {
  return (
    <>
      <When event={event} tenths={false} />
      <div class="stack tight">
        <span class={`clip ${toneOfEvent(event)}`}>
          <Icon name={shapeOf(event.kind)} size={12} /> {words(event.kind)} {event.node ?? ''}
        </span>
        <span class="clip" title={event.detail}>
          {event.detail}
        </span>
      </div>
    </>
  );
}

function Row({ event }: { event: NumberedEvent }) {
  return (
    <>
      <When event={event} tenths />
      <span>
        <State of={event.level} />
      </span>
      <span class="clip">{event.service}</span>
      <span class={`clip ${toneOfEvent(event)}`}>
        <Icon name={shapeOf(event.kind)} size={12} /> {words(event.kind)}
      </span>
      {event.node ? (
        <button class="link clip" onClick={() => inspect(event.node!)}>
          {event.node}
        </button>
      ) : (
        <span />
      )}
      <span class="clip" title={event.detail}>
        {event.job && (
          <a href={`/jobs/${event.job}`} class="mono">
            {event.job.slice(-6)}
          </a>
        )}{' '}
        {event.detail}
      </span>
    </>
  );
}
