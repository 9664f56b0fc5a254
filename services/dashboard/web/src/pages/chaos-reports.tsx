// What experiments showed: the outcome, clause by clause, and the cluster before, during and after.

import { clock, count, DASH, fixed, plural, span, words } from '../lib/format';
import type { ChaosReport, Measurements, PhaseFigures, Spread } from '../lib/wire';
import { Empty, Panel, State } from '../ui/parts';

export function Reports({ runs }: { runs: ChaosReport[] }) {
  if (!runs.length) {
    return (
      <Panel title="Reports">
        <Empty title="Nothing was broken on purpose yet">Reports of experiments stay here as long as faultline up runs.</Empty>
      </Panel>
    );
  }
  return (
    <Panel
      title={
        <>
          Reports <span class="quiet">newest first</span>
        </>
      }
    >
      <div class="stack">
        {runs.map((run, at) => (
          <Report key={run.run} run={run} open={at === 0} />
        ))}
      </div>
    </Panel>
  );
}

const AROUND_MS = 5000;

function Report({ run, open }: { run: ChaosReport; open: boolean }) {
  const { request } = run;
  return (
    <details class="run" open={open}>
      <summary>
        <State of={run.outcome} /> <b>{words(request.kind)}</b> {run.targets.join(', ')}{' '}
        <span class="quiet num">
          at {clock(run.started_at_ms)}, took {span(run.ended_at_ms - run.started_at_ms)}
        </span>
      </summary>
      <div class="stack">
        {run.reason && <p class={run.outcome === 'passed' ? 'quiet' : ''}>{run.reason}</p>}
        <Clauses run={run} />
        {run.phases.length > 0 && <Phases phases={run.phases} />}
        <p class="quiet num">
          {run.whole_after_ms === null
            ? 'The cluster was not whole again in time. '
            : `Whole again ${span(run.whole_after_ms)} after the fault. `}
          {run.measured && <Measured measured={run.measured} />}
        </p>
        <p>
          <a href={`/timeline?from=${run.started_at_ms - AROUND_MS}&to=${run.ended_at_ms + AROUND_MS}&affected=true`}>
            Show it on the timeline
          </a>
        </p>
      </div>
    </details>
  );
}

function Clauses({ run }: { run: ChaosReport }) {
  if (!run.clauses.length)
    return <p class="quiet">No hypothesis was given{run.request.hypothesis ? ', or it could not be judged' : ''}.</p>;
  return (
    <ul class="stack tight">
      {run.clauses.map((clause) => (
        <li key={clause.clause} class="row">
          <State of={clause.passed ? 'passed' : 'failed'} />
          <code>{clause.clause}</code>
          <span class="quiet">measured {clause.measured}</span>
        </li>
      ))}
    </ul>
  );
}

const ROWS: [string, (phase: PhaseFigures) => string][] = [
  ['Lasted', (phase) => span(phase.to_ms - phase.from_ms)],
  ['Fewest nodes up', (phase) => `${phase.nodes_alive_min} of ${phase.nodes_known}`],
  ['Running, mean', (phase) => fixed(phase.jobs_running, 1)],
  ['Queued, mean', (phase) => fixed(phase.jobs_queued, 1)],
  ['Committed', (phase) => count(phase.committed)],
  ['Throughput, jobs/s', (phase) => fixed(phase.throughput_per_s, 2)],
];

function Phases({ phases }: { phases: PhaseFigures[] }) {
  const inOrder = ['before', 'during', 'after'].map((name) => phases.find((phase) => phase.phase === name));
  return (
    <div class="scroll-x">
      <table class="phases">
        <thead>
          <tr>
            <th scope="col">Figure</th>
            <th scope="col" class="right">
              Before
            </th>
            <th scope="col" class="right">
              During
            </th>
            <th scope="col" class="right">
              After
            </th>
          </tr>
        </thead>
        <tbody>
          {ROWS.map(([label, value]) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {inOrder.map((phase, at) => (
                <td class="right" key={at}>
                  {phase ? value(phase) : DASH}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const spread = (name: string, given: Spread | null) =>
  given ? `${name} p50 ${span(given.p50_ms)}, p95 ${span(given.p95_ms)} (${given.count})` : null;

function Measured({ measured }: { measured: Measurements }) {
  const said = [
    `${plural(measured.attempts_lost, 'attempt')} lost`,
    measured.lost === null ? null : `${plural(measured.lost, 'job')} lost`,
    `${measured.duplicates} ended twice`,
    spread('detection', measured.detection),
    spread('recovery', measured.recovery),
    spread('next leader', measured.failover),
  ];
  return <>{said.filter(Boolean).join(' · ')}</>;
}
