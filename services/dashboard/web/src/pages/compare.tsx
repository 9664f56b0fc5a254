// Two instants of the last hour side by side, with what differs between them marked. Both are in the address: `a` and `b`, Unix milliseconds.

import { useEffect } from 'preact/hooks';
import { clock, count, DASH, fixed, instant as dated, jobStateWords, shortId, span } from '../lib/format';
import { instant, isRecording } from '../lib/instant';
import { failures, loadFailures, loadKept, reach, snapshotAt } from '../lib/past';
import { param, setParams } from '../lib/route';
import { changedJobs, changedNodes, nodeWords, type NodeThen, type Pair, type Snapshot } from '../lib/snapshot';
import type { JobBrief } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Empty, Failed, Loading, Panel, toneOf } from '../ui/parts';
import { Table, type Column } from '../ui/table';

const MINUTE_MS = 60_000;
/** So long before an incident: nothing of it has begun. */
const BEFORE_MS = 2000;
const MOST_ROWS = 100;

/** The two instants; a minute apart, up to the newest, when the address names none. */
function instants(): { a: number; b: number } | null {
  const ends = reach.value;
  if (!ends) return null;
  const b = Number(param('b')) || Math.max(ends.from, ends.to - 1000);
  const a = Number(param('a')) || Math.max(ends.from, b - MINUTE_MS);
  return { a, b };
}

export function Compare() {
  useEffect(() => {
    void Promise.all([loadKept(), loadFailures()]).catch(() => {});
  }, []);
  const chosen = instants();
  const key = chosen && `${chosen.a} ${chosen.b}`;
  const { data, error, reload } = useLoad(key, () => Promise.all([snapshotAt(chosen!.a), snapshotAt(chosen!.b)]));
  const [a, b] = data ?? [null, null];
  return (
    <>
      <div class="page-head">
        <PageTitle>Compare</PageTitle>
        <span class="sub num">{a && b ? `two instants, ${span(Math.abs(b.at - a.at))} apart` : 'two instants of the last hour'}</span>
      </div>
      {!chosen ? (
        <Loading />
      ) : (
        <div class="columns">
          <Instant name="a" label="A" at={chosen.a} />
          <Instant name="b" label="B" at={chosen.b} />
        </div>
      )}
      {error !== null && <Failed what="The two instants cannot be read" error={error} retry={reload} />}
      {data && (!a || !b) && <Empty title="One of the two instants is not kept">Choose a later one.</Empty>}
      {a && b && <Differences a={a} b={b} />}
    </>
  );
}

/** The instant of the last hour at that time of day. */
function parseClock(text: string, near: number): number | null {
  const [hours, minutes, seconds = 0] = text.split(':').map(Number);
  if (hours === undefined || minutes === undefined || Number.isNaN(hours + minutes + seconds)) return null;
  const date = new Date(near);
  date.setHours(hours, minutes, seconds, 0);
  const day = 24 * 60 * MINUTE_MS;
  return [date.getTime() - day, date.getTime(), date.getTime() + day].sort((x, y) => Math.abs(x - near) - Math.abs(y - near))[0]!;
}

function Instant({ name, label, at }: { name: 'a' | 'b'; label: string; at: number }) {
  const ends = reach.value!;
  const set = (ms: number) => setParams({ [name]: String(Math.round(Math.min(Math.max(ms, ends.from), ends.to))) });
  const known = failures.value.filter((incident) => incident.began_ms >= ends.from).reverse();
  return (
    <Panel title={<>Instant {label}</>} class="span-6" aside={<span class="quiet num">{dated(at)}</span>}>
      <div class="row">
        <input
          class="num"
          size={8}
          placeholder="HH:MM:SS"
          aria-label={`Time of instant ${label}`}
          value={clock(at)}
          onChange={(event) => {
            const typed = parseClock(event.currentTarget.value, at);
            if (typed !== null) set(typed);
          }}
        />
        {([[-10_000, '−10 s'], [-1000, '−1 s'], [1000, '+1 s'], [10_000, '+10 s']] as const).map(([by, text]) => (
          <button class="small" key={text} aria-label={`Instant ${label} ${text}`} onClick={() => set(at + by)}>
            {text}
          </button>
        ))}
        {instant.value !== null && !isRecording && (
          <button class="small" onClick={() => set(instant.peek()!)}>
            As on the slider
          </button>
        )}
        <select
          aria-label={`Instant ${label} by incident`}
          value=""
          onChange={(event) => {
            const ms = Number(event.currentTarget.value);
            if (ms) set(ms);
          }}
        >
          <option value="">at an incident …</option>
          {known.slice(0, 40).flatMap((incident) => [
            <option key={`${incident.id} before`} value={String(incident.began_ms - BEFORE_MS)}>
              {`before: ${incident.headline}, ${clock(incident.began_ms)}`}
            </option>,
            ...(incident.recovered_ms
              ? [
                  <option key={`${incident.id} after`} value={String(incident.recovered_ms + 1000)}>
                    {`after: ${incident.headline}, ${clock(incident.began_ms)}`}
                  </option>,
                ]
              : []),
          ])}
        </select>
      </div>
    </Panel>
  );
}

interface Figure {
  label: string;
  a: number | string | null;
  b: number | string | null;
  unit: string;
  digits: number;
}

function figuresOf(a: Snapshot, b: Snapshot): Figure[] {
  const of = (label: string, get: (one: Snapshot) => Figure['a'] | undefined, unit = '', digits = 0): Figure => ({
    label,
    a: get(a) ?? null,
    b: get(b) ?? null,
    unit,
    digits,
  });
  return [
    of('Nodes up', ({ stats }) => stats.nodes_alive),
    of('Nodes suspect', ({ stats }) => stats.nodes_suspect),
    of('Nodes gone or dead', ({ stats }) => stats.nodes_gone + stats.nodes_dead),
    of('Nodes draining', ({ stats }) => stats.nodes_draining),
    of('Jobs submitted', ({ stats }) => stats.ledger.submitted),
    of('Running', ({ stats }) => stats.running),
    of('Queued', ({ stats }) => stats.queued_in_stream + stats.queued_held),
    of('Committed', ({ stats }) => stats.ledger.committed),
    of('Given up', ({ stats }) => stats.jobs_given_up),
    of('Lost', ({ stats }) => stats.jobs_lost),
    of('Attempts interrupted', ({ stats }) => stats.attempts_interrupted),
    of('Throughput', ({ stats }) => stats.committed_last_minute, '/min'),
    of('Asked rate', ({ perMinute }) => perMinute, '/min', 1),
    of('GPUs allocated', ({ stats }) => stats.gpu_allocated_percent, ' %'),
    of('GPUs utilised', ({ stats }) => stats.gpu_utilisation_percent, ' %'),
    of('Leader', ({ stats }) => stats.leader || 'none'),
    of('Policy', ({ stats }) => stats.policy || 'none'),
  ];
}

function differenceOf({ a, b, unit, digits }: Figure): string {
  if (a === null || b === null) return a === b ? '' : 'known at one of them only';
  if (typeof a === 'string' || typeof b === 'string') return a === b ? 'equal' : 'changed';
  const by = Number((b - a).toFixed(digits));
  return by === 0 ? 'equal' : `${by > 0 ? '+' : '−'}${Math.abs(by).toLocaleString('en')}${unit}`;
}

const isChanged = (figure: Figure) => !['', 'equal'].includes(differenceOf(figure));
function valueOf(value: Figure['a'], { unit, digits }: Figure): string {
  if (typeof value === 'string') return value;
  return value === null ? DASH : (digits ? fixed(value, digits) : count(Math.round(value))) + unit;
}

const FIGURES: Column<Figure>[] = [
  { title: 'Figure', heads: true, cell: ({ label }) => label },
  { title: 'A', number: true, cell: (figure) => valueOf(figure.a, figure) },
  { title: 'B', number: true, cell: (figure) => valueOf(figure.b, figure) },
  {
    title: 'Difference',
    number: true,
    cell: (figure) =>
      isChanged(figure) ? (
        <mark>
          <Icon name="changed" size={11} /> {differenceOf(figure)}
        </mark>
      ) : (
        <span class="quiet">{differenceOf(figure)}</span>
      ),
  },
];

const nodeCell = (node: NodeThen | undefined, marked: boolean) => {
  const text = nodeWords(node);
  return marked ? <mark class={toneOf(node?.health ?? '')}>{text}</mark> : text;
};

const nodeColumns = (marked: 'state' | 'jobs'): Column<Pair<NodeThen>>[] => [
  { title: 'Node', heads: true, cell: ({ name }) => <a href={`/nodes?inspect=${encodeURIComponent(name)}`}>{name}</a> },
  { title: 'A', cell: ({ before }) => nodeWords(before) },
  { title: 'B', cell: ({ after }) => nodeCell(after, marked === 'state') },
  { title: 'Jobs at A', number: true, cell: ({ before }) => count(before?.running) },
  {
    title: 'Jobs at B',
    number: true,
    cell: ({ before, after }) => (before?.running === after?.running ? count(after?.running) : <mark>{count(after?.running)}</mark>),
  },
];

const jobThen = (job: JobBrief | undefined) =>
  job ? `${jobStateWords(job)}${job.node ? ` on ${job.node}` : ''}${job.path.length > 1 ? `, attempt ${job.path.length}` : ''}` : DASH;

const JOBS: Column<Pair<JobBrief>>[] = [
  {
    title: 'Job',
    heads: true,
    cell: ({ name, before, after }) => (
      <a href={`/jobs/${name}`}>
        {(after ?? before)!.name} <span class="quiet mono">{shortId(name)}</span>
      </a>
    ),
  },
  { title: 'A', cell: ({ before }) => jobThen(before) },
  { title: 'B', cell: ({ after }) => <mark>{jobThen(after)}</mark> },
];

function Differences({ a, b }: { a: Snapshot; b: Snapshot }) {
  const { states, loads } = changedNodes(a, b);
  const otherwise = changedJobs(a, b);
  // Of jobs that are known of one instant only, those that came since say something; the others are just older.
  const jobs = otherwise.filter(({ before, after }) => before && after);
  const fresh = otherwise.filter(({ before, after }) => !before || !after).length;
  const figures = figuresOf(a, b);
  const [first, last] = a.at <= b.at ? [a.at, b.at] : [b.at, a.at];
  const between = failures.value.filter((incident) => incident.began_ms >= first && incident.began_ms <= last);
  const more = (rows: unknown[]) => (rows.length > MOST_ROWS ? ` (the first ${MOST_ROWS})` : '');
  return (
    <>
      <div class="columns">
        <Panel title={<>Figures <span class="quiet">{figures.filter(isChanged).length} of {figures.length} differ</span></>} class="span-6" flush>
          <Table columns={FIGURES} rows={figures} keyOf={(row) => row.label} />
        </Panel>
        <Panel title={<>Incidents that began between them <span class="quiet">{between.length}</span></>} class="span-6">
          {between.length ? (
            <ul class="stack">
              {between.slice(-MOST_ROWS).map((incident) => (
                <li key={incident.id}>
                  <span class="num quiet">{clock(incident.began_ms)}</span> <a href={`/incidents/${incident.id}`}>{incident.headline}</a>
                </li>
              ))}
            </ul>
          ) : (
            <p class="quiet">None.</p>
          )}
        </Panel>
      </div>
      <Panel title={<>Nodes in another state <span class="quiet">{states.length} of {Math.max(a.nodes.size, b.nodes.size)}{more(states)}</span></>} flush>
        {states.length ? <Table columns={nodeColumns('state')} rows={states.slice(0, MOST_ROWS)} keyOf={(row) => row.name} /> : <p class="inset quiet">Every node was in the same state.</p>}
      </Panel>
      <Panel title={<>Nodes with other jobs <span class="quiet">{loads.length} more{more(loads)}</span></>} flush>
        {loads.length ? <Table columns={nodeColumns('jobs')} rows={loads.slice(0, MOST_ROWS)} keyOf={(row) => row.name} /> : <p class="inset quiet">None.</p>}
      </Panel>
      <Panel title={<>Jobs that stood otherwise <span class="quiet">{jobs.length}; {fresh} more are known of one instant only, which has its newest 50</span></>} flush>
        {jobs.length ? <Table columns={JOBS} rows={jobs.slice(0, MOST_ROWS)} keyOf={(row) => row.name} /> : <p class="inset quiet">None.</p>}
      </Panel>
    </>
  );
}
