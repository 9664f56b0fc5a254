// What is running, what just failed, how it was noticed, and that nothing was lost.

import type { ComponentChildren } from 'preact';
import { count, fixed, plural, span } from '../lib/format';
import { incidents, index, stats } from '../lib/store';
import type { StatsReply } from '../lib/wire';
import { Chart, type Line } from '../ui/chart';
import { GoodputPanel } from '../ui/goodput';
import { HeatMap } from '../ui/heat';
import { Icon } from '../ui/icons';
import { EventLane } from '../ui/lane';
import { IncidentCard } from '../ui/incident';
import { Empty, Loading, Panel } from '../ui/parts';
import { PageTitle } from '../ui/header';
import { RatePanel } from './rate';

const FLOW: Line[] = [
  { key: 'arrivals_per_s', label: 'arrivals', scale: 60, digits: 1, unit: '/min', colour: '--series-1', meanOf: 30 },
  { key: 'completions_per_s', label: 'completions', scale: 60, digits: 1, unit: '/min', colour: '--series-2', dash: [5, 3], meanOf: 30 },
];
const QUEUE: Line[] = [
  { key: 'queue', label: 'queued', digits: 0, unit: '', colour: '--series-3' },
  { key: 'running', label: 'running', digits: 0, unit: '', colour: '--series-1', dash: [5, 3] },
];
const USE: Line[] = [
  { key: 'gpu_utilisation_percent', label: 'utilised', digits: 0, unit: ' %', colour: '--series-1' },
  { key: 'gpu_allocated_percent', label: 'allocated', digits: 0, unit: ' %', colour: '--series-4', dash: [5, 3] },
];
const HEAT: Line[] = [
  { key: 'temperature_max_c', label: 'hottest', digits: 0, unit: ' °C', colour: '--series-3' },
  { key: 'temperature_mean_c', label: 'mean', digits: 0, unit: ' °C', colour: '--series-1', dash: [5, 3] },
];

/** The map of more nodes than this is higher than a screen: the charts then come first. */
const LARGE = 600;

export function Overview() {
  const isLarge = index.value.nodes.length > LARGE;
  return (
    <>
      <div class="hidden-text">
        <PageTitle>Overview</PageTitle>
      </div>
      <div class="columns">
        <RatePanel />
        <section class="panel span-8" aria-label="Figures">
          {stats.value ? (
            <Tiles stats={stats.value} />
          ) : (
            <div class="body">
              <Loading />
            </div>
          )}
        </section>
      </div>
      <div class="columns">
        <div class="beside span-8">
          {!isLarge && <HeatMap />}
          <EventLane />
          <div class="columns">
            <div class="span-6 half">
              <Chart title="Jobs, mean of 30 s" lines={FLOW} minMax={3} />
            </div>
            <div class="span-6 half">
              <Chart title="Queue" lines={QUEUE} minMax={4} />
            </div>
            <div class="span-6 half">
              <Chart title="GPU use" lines={USE} range={[0, 100]} />
            </div>
            <div class="span-6 half">
              <Chart title="GPU temperature" lines={HEAT} range={[20, 100]} />
            </div>
          </div>
          {isLarge && <HeatMap />}
          <GoodputPanel />
        </div>
        <Incidents />
      </div>
    </>
  );
}

interface TileProps {
  label: string;
  children: ComponentChildren;
  sub?: ComponentChildren;
  tone?: string;
  title?: string;
}

function Tile({ label, children, sub, tone = '', title }: TileProps) {
  return (
    <div class="tile" title={title}>
      <dt>{label}</dt>
      <dd class={tone}>{children}</dd>
      {sub !== undefined && <dd class="sub">{sub}</dd>}
    </div>
  );
}

const spread = (p50: number | null | undefined, p95: number | null | undefined) =>
  p50 === null || p50 === undefined ? { value: '–', sub: 'not measured yet' } : { value: span(p50), sub: `p95 ${span(p95)}` };

/** The promise: none lost, none ended twice. Before it was watched for long enough the service does not claim it. */
function Lost({ stats }: { stats: StatsReply }) {
  const { jobs_lost: lost, jobs_ended_twice: twice } = stats;
  if (lost === null) {
    return (
      <Tile label="Jobs lost" sub={stats.jobs_given_up > 0 ? `${count(stats.jobs_given_up)} given up` : 'not judged yet'}>
        –
      </Tile>
    );
  }
  const good = lost === 0 && twice === 0;
  const ended = stats.jobs_given_up > 0 ? `${count(stats.jobs_given_up)} given up` : 'each job ended once';
  return (
    <Tile
      label="Jobs lost"
      sub={good ? ended : `${count(twice)} ended twice: faultline audit`}
      tone={good ? 'is-good' : 'is-bad'}
      title="Jobs whose message left the queue before they ended. All other jobs end once: committed, given up, cancelled, or abandoned"
    >
      <Icon name={good ? 'committed' : 'dead'} size={17} /> {count(lost)}
    </Tile>
  );
}

function Tiles({ stats: s }: { stats: StatsReply }) {
  const down = s.nodes_gone + s.nodes_dead;
  const queued = s.queued_in_stream + s.queued_held;
  const detection = spread(s.detection_p50_ms, s.detection_p95_ms);
  const recovery = spread(s.recovery_from_fault_p50_ms, s.recovery_from_fault_p95_ms);
  const reaction = spread(s.reaction_p50_ms, s.reaction_p95_ms);
  return (
    <dl class="tiles">
      <div class="tile">
        <dt>Nodes</dt>
        <dd class={`trio ${s.nodes_alive > 999 ? 'narrow' : ''}`}>
          <span class="is-good" title="up">
            <Icon name="alive" size={12} />
            {count(s.nodes_alive)}
            <span class="hidden-text">up</span>
          </span>
          <span class={s.nodes_suspect ? 'is-warn' : 'is-idle'} title="suspect">
            <Icon name="suspect" size={12} />
            {count(s.nodes_suspect)}
            <span class="hidden-text">suspect</span>
          </span>
          <span class={down ? 'is-bad' : 'is-idle'} title="gone or dead">
            <Icon name="dead" size={12} />
            {count(down)}
            <span class="hidden-text">dead</span>
          </span>
        </dd>
        <dd class="sub">up · suspect · dead{s.nodes_draining > 0 ? ` · ${s.nodes_draining} draining` : ''}</dd>
      </div>
      <Tile label="Running" sub={`${count(s.ledger.committed)} done so far`}>
        {count(s.running)}
      </Tile>
      <Tile label="Queued" sub={!queued ? 'none' : s.oldest_queued_age_ms ? `oldest waiting ${span(s.oldest_queued_age_ms)}` : 'just arrived'}>
        {count(queued)}
      </Tile>
      <Tile label="Throughput" sub={`${count(s.submitted_last_minute)} /min arrive`}>
        {count(s.committed_last_minute)} <small>/min</small>
      </Tile>
      <Tile label="GPUs allocated" sub={`${fixed(s.gpu_utilisation_percent)} % utilised, of ${plural(s.gpus_total, 'GPU')}`}>
        {fixed(s.gpu_allocated_percent)} <small>%</small>
      </Tile>
      <Tile label="Detection p50" sub={detection.sub} title="From the fault to the first verdict on its node">
        {detection.value}
      </Tile>
      <Tile
        label="Recovery from fault, p50"
        sub={s.reaction_p50_ms === null ? recovery.sub : `reaction ${span(s.reaction_p50_ms)}`}
        title={`Recovery, from the fault to the next placement: ${recovery.sub}. Reaction, from the verdict to it: ${reaction.sub}.`}
      >
        {recovery.value}
      </Tile>
      <Lost stats={s} />
      <Tile label="Attempts cut short" sub={`${count(s.attempts_interrupted)} interrupted, ${count(s.retried_total)} failed`}>
        {count(s.attempts_repeated)}
      </Tile>
      <Tile label="Leader" sub={`epoch ${s.epoch} · ${s.policy || 'no policy yet'}`}>
        <span class="leader-name">{s.leader || 'none'}</span>
      </Tile>
    </dl>
  );
}

function Incidents() {
  const newest = incidents.value;
  return (
    <Panel title="Incidents" aside={<a href="/incidents">All incidents</a>} class="span-4" flush>
      {newest?.length ? (
        newest.map((incident, at) => <IncidentCard key={incident.id} incident={incident} open={at === 0} />)
      ) : !newest ? (
        <div class="inset">
          <Loading rows={3} />
        </div>
      ) : (
        <Empty title="Nothing has failed">
          Kill a worker on the page <a href="/chaos">Chaos</a> to see what happens.
        </Empty>
      )}
    </Panel>
  );
}
