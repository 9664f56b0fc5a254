// The log of the cluster: filters are asked of the service, what comes live is added, and only visible rows exist.

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
const KINDS = [
  'job_placed',
  'attempt_failed',
  'attempt_lost',
  'attempt_superseded',
  'job_dead',
  'job_cancelled',
  'job_abandoned',
  'node_joined',
  'node_left',
  'node_suspect',
  'node_gone',
  'node_dead',
  'node_recovered',
  'node_drained',
  'node_undrained',
  'fault_began',
  'fault_ended',
  'leader_elected',
  'leader_lost',
  'rate_changed',
  'workers_scaled',
  'repaired',
];
const MOST = 1000;
const COLUMNS = '84px 84px minmax(92px, 130px) minmax(110px, 150px) minmax(90px, 140px) minmax(160px, 1fr)';

export interface Filter {
  level: string;
  service: string;
  node: string;
  kind: string;
  job: string;
}

export function matches(event: NumberedEvent, filter: Filter): boolean {
  return (
    (!filter.level || LEVELS.indexOf(event.level) >= LEVELS.indexOf(filter.level as Level)) &&
    (!filter.service || event.service === filter.service) &&
    (!filter.node || event.node === filter.node) &&
    (!filter.kind || event.kind === filter.kind) &&
    (!filter.job || event.job === filter.job)
  );
}

export const filterNow = (): Filter => ({
  level: param('level'),
  service: param('service'),
  node: param('node'),
  kind: param('kind'),
  job: param('job'),
});

export function Events() {
  const filter = filterNow();
  const key = query({ ...filter, limit: MOST });
  const loaded = useLoad(key, (signal) => get<{ items: NumberedEvent[] }>(`/events${key}`, signal));
  const live = events.value;
  const past = loaded.data && !loaded.loading ? loaded.data.items : [];
  const newest = past.length ? past[past.length - 1]!.seq : 0;
  const rows = [...past, ...live.filter((event) => event.seq > newest && matches(event, filter))].reverse();
  const services = [...new Set(live.map((event) => event.service))].sort();
  return (
    <>
      <div class="page-head">
        <PageTitle>Events</PageTitle>
        <span class="sub num">
          {count(rows.length)} newest first{rows.length >= MOST ? ', older ones are in the stream EVENTS' : ''}
        </span>
      </div>
      <EventFilters filter={filter} services={services} />
      {loaded.error !== null && !rows.length ? (
        <Failed what="The events cannot be loaded" error={loaded.error} retry={loaded.reload} />
      ) : loaded.loading && !rows.length ? (
        <Loading rows={10} />
      ) : !rows.length ? (
        <Empty title="No event matches">History is kept for an hour.</Empty>
      ) : (
        <EventTable rows={rows} />
      )}
    </>
  );
}

function Choice({ label, name, value, options }: { label: string; name: string; value: string; options: string[] }) {
  const all = value && !options.includes(value) ? [value, ...options] : options;
  return (
    <label class="field">
      {label}
      <select value={value} onChange={(event) => setParams({ [name]: event.currentTarget.value })}>
        <option value="">any</option>
        {all.map((option) => (
          <option key={option} value={option}>
            {words(option)}
          </option>
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
      {Object.values(filter).some(Boolean) && (
        <button type="button" onClick={() => setParams({ level: null, kind: null, service: null, node: null, job: null })}>
          Clear
        </button>
      )}
    </form>
  );
}

export function EventTable({ rows }: { rows: NumberedEvent[] }) {
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
          <VirtualList
            rows={rows}
            rowHeight={32}
            height="min(72vh, 1000px)"
            label="Events"
            keyOf={(event) => event.seq}
            columns={COLUMNS}
            render={(event) => <Row event={event} />}
          />
        </div>
      </div>
    </Panel>
  );
}

function Row({ event }: { event: NumberedEvent }) {
  return (
    <>
      <a href={instantLink(event)} title="Show on the timeline">
        <time dateTime={new Date(event.at_ms).toISOString()} title={instant(event.at_ms)}>
          {clock(event.at_ms, true)}
        </time>
      </a>
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
