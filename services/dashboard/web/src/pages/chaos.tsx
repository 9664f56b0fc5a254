// Experiments: break something on purpose, say what should hold, and see whether it did. They are carried out by `faultline up`, which puts
// everything right again by itself.

import { useState } from 'preact/hooks';
import { get, post } from '../lib/api';
import { now } from '../lib/connection';
import { span, words } from '../lib/format';
import { chaos, serviceNow } from '../lib/store';
import type { ChaosKindInfo, ChaosOverview, ChaosProgress, RunRequest } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Empty, Failed, Loading, Panel, State as Badge } from '../ui/parts';
import { order } from '../ui/toast';
import { Reports } from './chaos-reports';

interface Experiment extends RunRequest {
  title: string;
  icon: string;
  what: string;
}

/** The ones that a person tries first; all others are in the list below them. */
const FIRST: Experiment[] = [
  {
    title: 'Kill a busy worker',
    icon: 'dead',
    what: 'SIGKILL to the process of a random worker that runs jobs',
    kind: 'kill-busy-worker',
    hypothesis: 'lost=0,duplicates=0,detection_p95<3s,recovery_p95<10s',
  },
  {
    title: 'Kill 30 %',
    icon: 'dead',
    what: 'SIGKILL to 30 % of the workers at the same moment',
    kind: 'kill-percent',
    percent: 30,
    hypothesis: 'lost=0,duplicates=0,recovery_p95<15s',
  },
  {
    title: 'Partition for 10 s',
    icon: 'network',
    what: 'The network of a worker passes nothing for a while',
    kind: 'partition',
    for_ms: 10_000,
    hypothesis: 'lost=0,duplicates=0',
  },
  {
    title: 'Kill the scheduler',
    icon: 'leader',
    what: 'SIGKILL to the scheduler that leads; the standby takes over',
    kind: 'kill-service',
    target: 'leader',
    hypothesis: 'lost=0,duplicates=0,failover_p50<5s',
  },
  {
    title: 'GPU error',
    icon: 'fault',
    what: 'A simulated GPU reports an XID error',
    kind: 'gpu-error',
    hypothesis: 'lost=0,duplicates=0',
  },
];

export function Chaos() {
  // Progress is pushed; kinds and reports are asked for, again when a run has ended.
  const pushed = chaos.value;
  const asked = useLoad(
    `chaos ${pushed?.available} ${pushed?.runs_ended} ${pushed?.running?.phase === 'done'}`,
    (signal) => get<ChaosOverview>('/chaos', signal),
    5000,
  );
  const state = asked.data;
  const running = pushed ? pushed.running : state?.running;
  return (
    <>
      <div class="page-head">
        <PageTitle>Chaos</PageTitle>
        <span class="sub">Inject a fault, state a hypothesis, and see whether it holds.</span>
      </div>
      {!state ? (
        asked.error !== null ? (
          <Failed what="Experiments cannot be loaded" error={asked.error} retry={asked.reload} />
        ) : (
          <Loading rows={6} />
        )
      ) : !state.available ? (
        <Empty title="No experiment can be run here">
          {state.reason ?? 'faultline up runs experiments, and it does not answer.'}
        </Empty>
      ) : (
        <>
          {running && running.phase !== 'done' ? <Running run={running} /> : <Choose kinds={state.kinds} />}
          <Reports runs={state.runs} />
        </>
      )}
    </>
  );
}

function Choose({ kinds }: { kinds: ChaosKindInfo[] }) {
  const [chosen, setChosen] = useState<Experiment | null>(null);
  const others = kinds.filter((info) => !FIRST.some((first) => first.kind === info.kind));
  const chooseOther = (kind: string) => {
    const info = kinds.find((candidate) => candidate.kind === kind);
    if (info) setChosen({ title: words(kind), icon: 'fault', what: info.does, kind: info.kind, hypothesis: 'lost=0,duplicates=0' });
  };
  return (
    <Panel title="What to break">
      <div class="stack">
        <div class="experiments" role="group" aria-label="Experiments">
          {FIRST.filter((first) => kinds.some((info) => info.kind === first.kind)).map((experiment) => (
            <button
              class="experiment"
              key={experiment.kind}
              aria-pressed={chosen?.kind === experiment.kind}
              onClick={() => setChosen(experiment)}
            >
              <b>
                <Icon name={experiment.icon} />
                {experiment.title}
              </b>
              <span>{experiment.what}</span>
            </button>
          ))}
        </div>
        {others.length > 0 && (
          <label class="field other-kinds">
            Or another one
            <select
              value={others.some((info) => info.kind === chosen?.kind) ? chosen?.kind : ''}
              onChange={(event) => chooseOther(event.currentTarget.value)}
            >
              <option value="">choose</option>
              {others.map((info) => (
                <option key={info.kind} value={info.kind}>{`${words(info.kind)}: ${info.does}`}</option>
              ))}
            </select>
          </label>
        )}
        {chosen && (
          <Prepare
            key={chosen.kind}
            experiment={chosen}
            info={kinds.find((info) => info.kind === chosen.kind)}
            leave={() => setChosen(null)}
          />
        )}
      </div>
    </Panel>
  );
}

function Prepare({ experiment, info, leave }: { experiment: Experiment; info: ChaosKindInfo | undefined; leave: () => void }) {
  const [hypothesis, setHypothesis] = useState(experiment.hypothesis ?? '');
  const [target, setTarget] = useState(experiment.target ?? '');
  const run = async (event: SubmitEvent) => {
    event.preventDefault();
    const { title, icon, what, ...request } = experiment;
    if (await order(() => post('/chaos/run', { ...request, target: target.trim(), hypothesis: hypothesis.trim() }), `${title}: it begins`))
      leave();
  };
  const takesTarget = info?.target !== 'nothing' && experiment.kind !== 'kill-percent';
  return (
    <form class="stack prepare" onSubmit={run}>
      <p>{info?.does ?? experiment.what}</p>
      <div class="filters">
        {takesTarget && (
          <label class="field">
            {info?.target === 'service' ? 'Service' : info?.target === 'node' ? 'Node' : 'Worker'}
            <input value={target} placeholder="drawn at random" maxLength={64} onInput={(event) => setTarget(event.currentTarget.value)} />
          </label>
        )}
        <label class="field hypothesis">
          Hypothesis: clauses, separated by commas
          <input
            value={hypothesis}
            maxLength={300}
            placeholder="lost=0,recovery_p99<5s"
            onInput={(event) => setHypothesis(event.currentTarget.value)}
          />
        </label>
        <button class="danger">{experiment.title} now</button>
        <button type="button" onClick={leave}>
          Not now
        </button>
      </div>
    </form>
  );
}

const PHASES = ['checking', 'before', 'during', 'after'] as const;

function Running({ run }: { run: ChaosProgress }) {
  void now.value;
  const left = Math.max(0, run.left_ms - (serviceNow() - run.at_ms));
  const at = PHASES.indexOf(run.phase as (typeof PHASES)[number]);
  return (
    <Panel title={<>Under way: {words(run.kind)}</>} aside={<Badge of="active" label={run.phase} />}>
      <div class="stack">
        <ol class="phase-line" aria-label="Phases">
          {PHASES.map((phase, index) => (
            <li key={phase} aria-current={index === at ? 'step' : undefined} class={index < at ? 'past' : ''}>
              {phase}
            </li>
          ))}
        </ol>
        <div class="row">
          <span class="countdown" role="timer" aria-label="Time left in this phase">
            {span(left)}
          </span>
          <span class="quiet grow">at most, until this phase ends. {run.detail}</span>
          <button class="danger" onClick={() => order(() => post('/chaos/abort', {}), 'Aborting: repairing everything now')}>
            <Icon name="stop" size={12} />
            Abort and restore
          </button>
        </div>
        {run.sample && (
          <dl class="figures">
            <div>
              <dt>Nodes up</dt>
              <dd>
                {run.sample.nodes_alive} of {run.sample.nodes_known}
              </dd>
            </div>
            <div>
              <dt>Running</dt>
              <dd>{run.sample.jobs_running}</dd>
            </div>
            <div>
              <dt>Queued</dt>
              <dd>{run.sample.jobs_queued}</dd>
            </div>
            <div>
              <dt>Committed so far</dt>
              <dd>{run.sample.committed}</dd>
            </div>
          </dl>
        )}
      </div>
    </Panel>
  );
}
