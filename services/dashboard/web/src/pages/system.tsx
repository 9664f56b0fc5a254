// What the cluster is made of: the processes that `faultline up` runs with their health and the last lines of their logs, and what NATS holds.

import { ApiFailure, get, query } from '../lib/api';
import { clock, instant, plural, span } from '../lib/format';
import { param, path, setParams } from '../lib/route';
import type { Level, LogLine, ProcessesReply, ProcessView } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Empty, Failed, Loading, Panel, State } from '../ui/parts';
import { Table, type Column } from '../ui/table';
import { Messaging } from './messaging';

const EVERY_MS = 2000;
const LINES = 200;
const LEVELS: [Level | '', string][] = [
  ['', 'All levels'],
  ['info', 'Info and worse'],
  ['warn', 'Warnings and errors'],
  ['error', 'Errors'],
];

export function System() {
  const isMessaging = path.value.endsWith('/messaging');
  return (
    <>
      <div class="page-head">
        <PageTitle>System</PageTitle>
        <nav class="segmented links" aria-label="Parts of the system">
          <a href="/system" aria-current={isMessaging ? undefined : 'page'}>
            Processes
          </a>
          <a href="/system/messaging" aria-current={isMessaging ? 'page' : undefined}>
            Messaging
          </a>
        </nav>
      </div>
      {isMessaging ? <Messaging /> : <Processes />}
    </>
  );
}

function Processes() {
  const [process, level] = [param('process'), param('level')];
  const { data, error, reload } = useLoad(
    `processes ${process} ${level}`,
    (signal) => get<ProcessesReply>(`/processes${query({ process, level, lines: LINES })}`, signal),
    EVERY_MS,
  );
  if (error instanceof ApiFailure && error.status === 501) return <NoUp />;
  if (!data) return error !== null ? <Failed what="The processes cannot be shown" error={error} retry={reload} /> : <Loading rows={8} />;
  const down = data.processes.filter((one) => one.state !== 'running' || one.ready === false).length;
  return (
    <>
      {error !== null && <Failed what="What follows is older: the processes cannot be asked now" error={error} retry={reload} />}
      <Panel
        title={
          <>
            Processes{' '}
            <span class="quiet">
              {plural(data.processes.length, 'process', 'processes')} of a <code>faultline up</code> that has run for {span(data.uptime_ms)}
              {down > 0 ? `, ${down} not ready` : ', all ready'}
            </span>
          </>
        }
        flush
      >
        <Table columns={PROCESSES} rows={data.processes} keyOf={({ name }) => name} class="wide-table" />
      </Panel>
      <Logs reply={data} process={process} level={level} />
    </>
  );
}

/** In containers, or where each process was started by hand. */
function NoUp() {
  return (
    <Empty title="No faultline up runs these processes">
      Processes and logs are shown by the <code>faultline up</code> that started them. In containers, <code>docker ps</code> shows their health and{' '}
      <code>docker logs NAME</code> a log; elsewhere, a process writes to its standard error, and to a file where <code>log_dir</code> is set.
    </Empty>
  );
}

function Health({ of }: { of: ProcessView }) {
  if (of.state !== 'running') return <State of="dead" label={of.state} />;
  if (of.ready === null || of.ready === undefined) return <State of="running" label="runs" />;
  return of.ready ? <State of="alive" label="ready" /> : <State of="suspect" label="not ready" />;
}

const tally = (many: number) => (many ? String(many) : '');

const PROCESSES: Column<ProcessView>[] = [
  {
    title: 'Process',
    heads: true,
    cell: ({ name }) => (
      <button class="link" title={`Only lines of ${name} below`} onClick={() => setParams({ process: param('process') === name ? null : name })}>
        {name}
      </button>
    ),
  },
  { title: 'Health', cell: (row) => <Health of={row} /> },
  { title: 'What it does', cell: ({ note }) => note },
  { title: 'Process id', number: true, cell: ({ pid }) => pid ?? '' },
  { title: 'Runs for', number: true, class: () => 'nowrap', cell: ({ pid, uptime_ms: ms }) => (pid ? span(ms) : '') },
  { title: 'Restarts', number: true, class: ({ restarts }) => (restarts ? 'is-warn' : ''), cell: ({ restarts }) => restarts },
  { title: 'Ended last', cell: ({ last_exit: exit }) => exit ?? '' },
  { title: 'Warnings', number: true, class: ({ warnings }) => (warnings ? 'is-warn' : ''), cell: ({ warnings }) => tally(warnings) },
  { title: 'Errors', number: true, class: ({ errors }) => (errors ? 'is-bad' : ''), cell: ({ errors }) => tally(errors) },
];

function Logs({ reply, process, level }: { reply: ProcessesReply; process: string; level: string }) {
  const rows = reply.lines.map((line, at) => ({ ...line, key: `${line.at_ms} ${line.process} ${at}` })).reverse();
  return (
    <Panel
      title={
        <>
          Logs <span class="quiet">the newest {plural(rows.length, 'line')}, newest first; the files are in {reply.log_dir}</span>
        </>
      }
      aside={
        <>
          <select aria-label="Process" value={process} onChange={(event) => setParams({ process: event.currentTarget.value })}>
            <option value="">All processes</option>
            {reply.processes.map(({ name }) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
          <select aria-label="Level" value={level} onChange={(event) => setParams({ level: event.currentTarget.value })}>
            {LEVELS.map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        </>
      }
      flush
    >
      {rows.length ? (
        <div class="log" tabIndex={0} role="region" aria-label="Lines of the logs">
          <Table columns={LOG} rows={rows} keyOf={({ key }) => key} class="folding" />
        </div>
      ) : (
        <p class="inset quiet">No such line is kept: up keeps the last 200 of each process.</p>
      )}
    </Panel>
  );
}

const LOG: Column<LogLine & { key: string }>[] = [
  { title: 'Time', class: () => 'num nowrap', cell: ({ at_ms: ms }) => <time title={instant(ms)}>{clock(ms, true)}</time> },
  { title: 'Level', cell: ({ level }) => <State of={level ?? 'error'} label={level ?? 'none'} /> },
  { title: 'Process', class: () => 'nowrap', cell: ({ process }) => process },
  { title: 'Line', class: () => 'mono break', cell: ({ text }) => text },
];
