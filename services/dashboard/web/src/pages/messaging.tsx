// Streams and consumers of JetStream, each with the command that shows the same on a terminal.

import { get } from '../lib/api';
import { bytes, clock, count, plural } from '../lib/format';
import type { BucketFigures, ConsumerFigures, Messaging as Data, StreamFigures } from '../lib/wire';
import { useLoad } from '../ui/hooks';
import { Command, Empty, Failed, Loading, Panel } from '../ui/parts';
import { Table, type Column } from '../ui/table';

const PURPOSE: Record<string, string> = {
  JOBS: 'jobs that wait or run; acknowledged when they have ended',
  RESULTS: 'one record a job: open, then its end',
  EVENTS: 'the history, kept for an hour',
  DEAD: 'jobs that were given up, and unreadable job messages',
  ADVISORY: 'what JetStream says of terminated messages',
};

export function Messaging() {
  const loaded = useLoad('messaging', (signal) => get<Data>('/messaging', signal), 2000);
  const data = loaded.data;
  return (
    <>
      <div class="row">
        <span class="quiet num">
          {data
            ? `${plural(data.streams.length, 'stream')}, ${plural(data.buckets.length, 'bucket')}`
            : ''}
        </span>
        {data?.stale_reason && (
          <span class="badge warn" title={data.stale_reason}>
            JetStream does not answer: figures of {clock(data.at_ms)}
          </span>
        )}
      </div>
      {loaded.error !== null && !data ? (
        <Failed what="JetStream cannot be queried" error={loaded.error} retry={loaded.reload} />
      ) : !data ? (
        <Loading rows={8} />
      ) : (
        <>
          {data.streams.length ? (
            data.streams.map((stream) => <StreamPanel key={stream.name} stream={stream} />)
          ) : (
            <Empty title="No stream exists">
              Create them with <code>faultline setup</code>.
            </Empty>
          )}
          <Buckets data={data} />
        </>
      )}
    </>
  );
}

function StreamPanel({ stream }: { stream: StreamFigures }) {
  return (
    <Panel
      title={
        <>
          {stream.name} <span class="quiet">{PURPOSE[stream.name] ?? ''}</span>
        </>
      }
      aside={<Command text={stream.command} />}
      flush
    >
      <dl class="figures">
        <div>
          <dt>Messages</dt>
          <dd>{count(stream.messages)}</dd>
        </div>
        <div>
          <dt>Size</dt>
          <dd>{bytes(stream.bytes)}</dd>
        </div>
        <div>
          <dt>Sequences</dt>
          <dd>
            {count(stream.first_seq)} to {count(stream.last_seq)}
          </dd>
        </div>
      </dl>
      {stream.consumers.length > 0 && <Table columns={consumerColumns(stream.name)} rows={stream.consumers} keyOf={(row) => row.name} />}
    </Panel>
  );
}

const consumerColumns = (stream: string): Column<ConsumerFigures>[] => [
  { title: 'Consumer', cell: (row) => row.name },
  { title: 'Pending', number: true, cell: (row) => count(row.pending) },
  { title: 'Ack pending', number: true, cell: (row) => count(row.ack_pending) },
  { title: 'Redelivered', number: true, class: (row) => (row.redelivered ? 'is-warn' : ''), cell: (row) => count(row.redelivered) },
  { title: 'Waiting pulls', number: true, cell: (row) => count(row.waiting) },
  { title: 'Command', cell: (row) => <Command text={row.command ?? `nats consumer info ${stream} ${row.name}`} /> },
];

const BUCKET_COLUMNS: Column<BucketFigures>[] = [
  { title: 'Bucket', cell: (row) => row.name },
  { title: 'Values', number: true, cell: (row) => count(row.values) },
  { title: 'Size', number: true, cell: (row) => bytes(row.bytes) },
  { title: 'Command', cell: (row) => <Command text={row.command ?? `nats kv ls ${row.name}`} /> },
];

function Buckets({ data }: { data: Data }) {
  if (!data.buckets.length) return null;
  return (
    <Panel title="Buckets" flush>
      <Table columns={BUCKET_COLUMNS} rows={data.buckets} keyOf={(row) => row.name} />
    </Panel>
  );
}
