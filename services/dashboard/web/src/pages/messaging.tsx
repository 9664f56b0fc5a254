// Streams and consumers of JetStream, each with the command that shows the same on a terminal.

import { get } from '../lib/api';
import { bytes, count, plural } from '../lib/format';
import type { Messaging as Data, Stream } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Command, Empty, Failed, Loading, Panel } from '../ui/parts';

const PURPOSE: Record<string, string> = {
  JOBS: 'jobs that wait or run; acknowledged when they have ended',
  RESULTS: 'one record a job: open, then its end',
  EVENTS: 'the history, kept for an hour',
  DEAD: 'jobs that were given up, and messages that are no jobs',
  ADVISORY: 'what JetStream says of terminated messages',
};

export function Messaging() {
  const loaded = useLoad('messaging', (signal) => get<Data>('/messaging', signal), 2000);
  const data = loaded.data;
  return (
    <>
      <div class="page-head">
        <PageTitle>Messaging</PageTitle>
        <span class="sub num">
          {data
            ? `${plural(data.streams.length, 'stream')}, ${plural(data.buckets.length, 'bucket')}${data.connections ? `, ${plural(data.connections, 'connection')}` : ''}`
            : ''}
        </span>
      </div>
      {loaded.error !== null && !data ? (
        <Failed what="JetStream cannot be asked" error={loaded.error} retry={loaded.reload} />
      ) : !data ? (
        <Loading rows={8} />
      ) : (
        <>
          {data.streams.length ? (
            data.streams.map((stream) => <StreamPanel key={stream.name} stream={stream} />)
          ) : (
            <Empty title="There is no stream">
              Create them with <code>faultline setup</code>.
            </Empty>
          )}
          <Buckets data={data} />
        </>
      )}
    </>
  );
}

function StreamPanel({ stream }: { stream: Stream }) {
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
      {stream.consumers.length > 0 && (
        <div class="scroll-x">
          <table>
            <thead>
              <tr>
                <th scope="col">Consumer</th>
                <th scope="col" class="right">
                  Pending
                </th>
                <th scope="col" class="right">
                  Ack pending
                </th>
                <th scope="col" class="right">
                  Redelivered
                </th>
                <th scope="col" class="right">
                  Waiting pulls
                </th>
                <th scope="col">Command</th>
              </tr>
            </thead>
            <tbody>
              {stream.consumers.map((consumer) => (
                <tr key={consumer.name}>
                  <td>{consumer.name}</td>
                  <td class="num right">{count(consumer.pending)}</td>
                  <td class="num right">{count(consumer.ack_pending)}</td>
                  <td class={`num right ${consumer.redelivered ? 'is-warn' : ''}`}>{count(consumer.redelivered)}</td>
                  <td class="num right">{count(consumer.waiting)}</td>
                  <td>
                    <Command text={consumer.command ?? `nats consumer info ${stream.name} ${consumer.name}`} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Panel>
  );
}

function Buckets({ data }: { data: Data }) {
  if (!data.buckets.length) return null;
  return (
    <Panel title="Buckets" flush>
      <div class="scroll-x">
        <table>
          <thead>
            <tr>
              <th scope="col">Bucket</th>
              <th scope="col" class="right">
                Values
              </th>
              <th scope="col" class="right">
                Size
              </th>
              <th scope="col">Command</th>
            </tr>
          </thead>
          <tbody>
            {data.buckets.map((bucket) => (
              <tr key={bucket.name}>
                <td>{bucket.name}</td>
                <td class="num right">{count(bucket.values)}</td>
                <td class="num right">{bytes(bucket.bytes)}</td>
                <td>
                  <Command text={bucket.command ?? `nats kv ls ${bucket.name}`} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  );
}
