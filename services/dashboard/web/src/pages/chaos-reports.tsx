// What experiments showed: the outcome, clause by clause, and the cluster before, during and after.

import { clock, count, DASH, fixed, plural, span, words } from '../lib/format';
import type { ChaosReport, Measurements, PhaseFigures, Spread } from '../lib/wire';
import { Empty, Panel, State } from '../ui/parts';
import { Table, type Column } from '../ui/table';

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
          {run.whole_after_ms !== null
            ? `Whole again ${span(run.whole_after_ms)} after the fault. `
            : run.outcome === 'aborted'
              ? ''
              : 'The cluster was not whole again in time. '}
          {run.baseline && `${baselineText(run.baseline)} `}
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

/** Such as: 6 of 1,000 nodes were down before; not counted. */
function baselineText({ nodes_down: down, nodes_known: known, examples }: NonNullable<ChaosReport['baseline']>): string {
  if (!down) return `Before it: ${examples.join(', ')}; not counted.`;
  return `${count(down)} of ${plural(known, 'node')} ${down === 1 ? 'was' : 'were'} down before; not counted.`;
}

function Clauses({ run }: { run: ChaosReport }) {
  if (!run.clauses.length)
    return <p class="quiet">{run.request.hypothesis ? `Not judged: ${run.request.hypothesis}` : 'No hypothesis was given.'}</p>;
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

interface Figure {
  label: string;
  of: (phase: PhaseFigures) => string;
}

const FIGURES: Figure[] = [
  { label: 'Lasted', of: (phase) => span(phase.to_ms - phase.from_ms) },
  { label: 'Fewest nodes up', of: (phase) => `${phase.nodes_alive_min} of ${phase.nodes_known}` },
  { label: 'Running, mean', of: (phase) => fixed(phase.jobs_running, 1) },
  { label: 'Queued, mean', of: (phase) => fixed(phase.jobs_queued, 1) },
  { label: 'Committed', of: (phase) => count(phase.committed) },
  { label: 'Throughput, jobs/s', of: (phase) => fixed(phase.throughput_per_s, 2) },
];

function Phases({ phases }: { phases: PhaseFigures[] }) {
  const column = (title: string, name: string): Column<Figure> => {
    const phase = phases.find((candidate) => candidate.phase === name);
    return { title, number: true, cell: (figure) => (phase ? figure.of(phase) : DASH) };
  };
  const columns = [
    { title: 'Figure', heads: true, cell: (figure: Figure) => figure.label },
    column('Before', 'before'),
    column('During', 'during'),
    column('After', 'after'),
  ];
  return <Table class="phases" columns={columns} rows={FIGURES} keyOf={(figure) => figure.label} />;
}

const spread = (name: string, given: Spread | null | undefined) =>
  given ? `${name} p50 ${span(given.p50_ms)}, p95 ${span(given.p95_ms)} (${given.count})` : null;

function Measured({ measured }: { measured: Measurements }) {
  const said = [
    `${plural(measured.attempts_lost ?? 0, 'attempt')} interrupted`,
    typeof measured.lost === 'number' ? `${plural(measured.lost, 'job')} lost` : null,
    `${measured.duplicates} ended twice`,
    spread('detection', measured.detection),
    spread('recovery', measured.recovery),
    spread('next leader', measured.failover),
  ];
  return <>{said.filter(Boolean).join(' · ')}</>;
}
