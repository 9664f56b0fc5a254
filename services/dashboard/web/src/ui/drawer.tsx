// The drawer of one node, over whatever page is open; the parameter `inspect` names the node.

import { useEffect, useRef } from 'preact/hooks';
import { get } from '../lib/api';
import { clock, fixed, plural, shortId, span, words } from '../lib/format';
import { instant } from '../lib/instant';
import { param, setParams } from '../lib/route';
import { events, frame, nodes, nodesVersion, placeOf, positions, serviceNow } from '../lib/store';
import { now } from '../lib/connection';
import { cellAt, DRAINING, FAULTED } from '../lib/frame';
import type { NodeDetail, NodeHistory } from '../lib/wire';
import { EventLine } from './event-line';
import { useLoad } from './hooks';
import { Icon } from './icons';
import { Orders } from './node-orders';
import { Empty, Failed, Loading, Meter, State } from './parts';
import { NotKept } from './past';
import { Spark } from './spark';

const close = () => setParams({ inspect: null });

export function Drawer() {
  const name = param('inspect');
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    if (!name) return;
    const before = document.activeElement as HTMLElement | null;
    box.current?.focus();
    return () => before?.focus?.();
  }, [name !== '']);
  if (!name) return null;
  const key = (event: KeyboardEvent) => {
    if (event.key === 'Escape') {
      event.stopPropagation();
      close();
    }
  };
  return (
    <aside class="drawer" aria-label={`Node ${name}`} ref={box} tabIndex={-1} onKeyDown={key}>
      <header>
        <h2 class="grow clip">{name}</h2>
        <HealthOf name={name} />
        <button class="icon" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div class="inside" tabIndex={0} role="region" aria-label={`Details of ${name}`}>
        {instant.value === null ? <Inside name={name} key={name} /> : <PastInside name={name} />}
      </div>
    </aside>
  );
}

function HealthOf({ name }: { name: string }) {
  const at = positions.value.get(name);
  const cell = frame.value && at !== undefined ? cellAt(frame.value, at) : null;
  void nodesVersion.value;
  const { flags = 0, health } = cell ?? {};
  return (
    <>
      {health && <State of={health} />}
      {(flags & DRAINING) !== 0 && <State of="draining" />}
      {(flags & FAULTED) !== 0 && (
        <span class="badge warn">
          <Icon name="fault" size={11} />
          {words(nodes.get(name)?.fault?.kind ?? 'fault')}
        </span>
      )}
    </>
  );
}

function Inside({ name }: { name: string }) {
  const detail = useLoad(name, (signal) => get<NodeDetail>(`/nodes/${encodeURIComponent(name)}`, signal), 1000);
  const history = useLoad(name, (signal) => get<NodeHistory>(`/nodes/${encodeURIComponent(name)}/history`, signal), 2000);
  if (!detail.data)
    return detail.error ? <Failed what={`${name} cannot be shown`} error={detail.error} retry={detail.reload} /> : <Loading rows={6} />;
  return (
    <>
      <Orders name={name} detail={detail.data} after={detail.reload} />
      <Facts detail={detail.data} />
      <Gpus detail={detail.data} history={history.data} failure={history.error} />
      <Jobs detail={detail.data} />
      <Events name={name} />
    </>
  );
}

/** Of the past only what was pushed is known. */
function PastInside({ name }: { name: string }) {
  void nodesVersion.value;
  const at = positions.value.get(name);
  const cell = frame.value && at !== undefined ? cellAt(frame.value, at) : null;
  const row = nodes.get(name);
  if (!cell) return <NotKept what={`${name} was not known at that instant`} />;
  const { rack, worker, model } = placeOf(at!);
  return (
    <>
      <section>
        <dl class="facts">
          <dt>Worker</dt>
          <dd>{worker}</dd>
          <dt>Rack</dt>
          <dd>{rack || 'none'}</dd>
          <dt>GPUs</dt>
          <dd>
            {row ? `${row.gpus} × ` : ''}
            {model || 'unknown'}
          </dd>
          <dt>GPU use</dt>
          <dd class="num">
            {fixed(cell.utilisation)} % busy, {fixed(cell.memory)} % memory, {fixed(cell.temperature)} °C
          </dd>
          <dt>Attempts</dt>
          <dd class="num">{fixed(cell.running)} ran</dd>
          {row && (
            <>
              <dt>Heartbeat</dt>
              <dd class="num">
                {span(row.heartbeat_age_ms)} ago, phi {fixed(row.phi, 2)}
              </dd>
            </>
          )}
        </dl>
        <NotKept what="Orders are for now">Each GPU's readings and the verdict in full are not kept.</NotKept>
      </section>
      {row && <JobLines running={row.running_jobs} more={row.running - row.running_jobs.length} />}
      <Events name={name} />
    </>
  );
}

function Facts({ detail }: { detail: NodeDetail }) {
  const { verdict } = detail;
  const fault = nodes.get(detail.node)?.fault ?? detail.fault;
  const phi = nodes.get(detail.node)?.phi ?? verdict?.phi;
  void now.value;
  return (
    <section>
      <dl class="facts">
        <dt>Worker</dt>
        <dd>
          {detail.worker}, incarnation {detail.incarnation}
        </dd>
        <dt>Rack</dt>
        <dd>{detail.rack || 'none'}</dd>
        <dt>GPUs</dt>
        <dd>
          {detail.gpu_problem ? (
            <span class="badge bad">{detail.gpu_problem}</span>
          ) : (
            <>
              {detail.gpus.length} × {detail.gpus[0]?.model ?? 'unknown'} ({detail.telemetry_source || 'unknown source'})
            </>
          )}
        </dd>
        <dt>Heartbeat</dt>
        <dd class="num">
          {span(detail.heartbeat_age_ms)} ago{phi !== null && phi !== undefined && <>, phi {fixed(phi, 2)}</>}
        </dd>
        <dt>Failure rate</dt>
        <dd class="num">{fixed(detail.fault_percent_per_min, 1)} % a minute</dd>
        <dt>Slots</dt>
        <dd>
          {detail.running.length} of {detail.slots} taken
        </dd>
        {verdict && (
          <>
            <dt>Verdict</dt>
            <dd>
              {verdict.health} {span(serviceNow() - verdict.at_ms)} ago by {verdict.detector}: {verdict.evidence}
            </dd>
          </>
        )}
        {fault && (
          <>
            <dt>Fault</dt>
            <dd>
              {words(fault.kind)}
              {fault.until_ms ? `, ${span(fault.until_ms - serviceNow())} left` : ''}
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

function Gpus({ detail, history, failure }: { detail: NodeDetail; history: NodeHistory | null; failure: unknown }) {
  if (!detail.telemetry.length)
    return (
      <section>
        <h3>GPUs</h3>
        <p class="quiet">No telemetry from this node.</p>
      </section>
    );
  return (
    <section>
      <h3>GPUs, last 10 minutes</h3>
      {failure !== null && !history && <p class="quiet">The history cannot be loaded.</p>}
      {detail.telemetry.map((gpu, at) => {
        const past = history?.gpus[at];
        const memory = gpu.memory_total_mib && typeof gpu.memory_used_mib === 'number' ? (gpu.memory_used_mib / gpu.memory_total_mib) * 100 : null;
        return (
          <div key={at} class="gpu-history">
            <b>GPU {at}</b>
            {gpu.throttled && <span class="badge warn">throttled</span>}
            {(gpu.xid ?? 0) > 0 && <span class="badge bad">XID {gpu.xid}</span>}
            {gpu.out_of_service && <span class="badge bad">out of service</span>}
            <Spark
              label={`GPU ${at} utilisation`}
              values={past?.utilisation}
              max={100}
              colour="--series-1"
              now={`${fixed(gpu.utilisation_percent)} % busy`}
            />
            <Spark
              label={`GPU ${at} memory`}
              values={past?.memory_percent}
              max={100}
              colour="--series-4"
              now={`${fixed(memory)} % memory`}
            />
            <Spark
              label={`GPU ${at} temperature`}
              values={past?.temperature_c}
              max={100}
              colour="--series-3"
              now={`${fixed(gpu.temperature_c)} °C`}
            />
            <Spark label={`GPU ${at} power`} values={past?.power_w} max={0} colour="--series-2" now={`${fixed(gpu.power_w)} W`} />
          </div>
        );
      })}
    </section>
  );
}

function Jobs({ detail }: { detail: NodeDetail }) {
  return (
    <section>
      <h3>
        Jobs <a href={`/jobs?node=${encodeURIComponent(detail.node)}`}>all that ran here</a>
      </h3>
      {!detail.running.length && <p class="quiet">Nothing runs here now.</p>}
      <RunningJobs running={detail.running.slice(0, 20)} />
      {detail.running.length > 20 && <p class="quiet">and {plural(detail.running.length - 20, 'more', 'more')}</p>}
    </section>
  );
}

interface Running {
  job: string;
  progress_permille: number;
}

function JobLines({ running, more }: { running: Running[]; more: number }) {
  return (
    <section>
      <h3>Jobs</h3>
      {!running.length && <p class="quiet">Nothing ran here.</p>}
      <RunningJobs running={running} />
      {more > 0 && <p class="quiet">and {plural(more, 'more', 'more')}</p>}
    </section>
  );
}

function RunningJobs({ running }: { running: Running[] }) {
  return (
      <ul class="stack">
        {running.map((run) => (
          <li class="job-line" key={run.job}>
            <a href={`/jobs/${run.job}`} class="mono">
              {shortId(run.job)}
            </a>
            <Meter kind="progress" label={`Progress of ${run.job}`} value={run.progress_permille / 10} />
            <span class="num right">{fixed(run.progress_permille / 10)} %</span>
          </li>
        ))}
      </ul>
  );
}

function Events({ name }: { name: string }) {
  const own = events.value
    .filter((event) => event.node === name)
    .slice(-30)
    .reverse();
  return (
    <section>
      <h3>
        Events <a href={`/events?node=${encodeURIComponent(name)}`}>all</a>
      </h3>
      {own.length ? (
        <ol class="feed tight">
          {own.map((event) => (
            <EventLine key={event.seq} event={event} withNode={false} />
          ))}
        </ol>
      ) : (
        <Empty title="Nothing has happened here lately" />
      )}
      {own.length > 0 && <p class="quiet">newest first, since {clock(own[own.length - 1]!.at_ms)}</p>}
    </section>
  );
}
