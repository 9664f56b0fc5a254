// What every list of jobs shows of one, live and in the past.

import { Fragment } from 'preact';
import { jobStateWords, shortId } from '../lib/format';
import type { JobBrief, JobView } from '../lib/wire';
import { Icon } from './icons';
import { Meter, State } from './parts';

/** The columns that every list begins with: name, kind, priority, state. */
export function JobCells({ job }: { job: JobView | JobBrief }) {
  return (
    <>
      <td>
        <a href={`/jobs/${job.id}`}>{job.name}</a> <span class="mono quiet">{shortId(job.id)}</span>
      </td>
      <td>{job.kind}</td>
      <td>{job.priority}</td>
      <td class="nowrap">
        <State of={job.state} label={jobStateWords(job)} />
        {job.state === 'running' && <Meter kind="progress" label={`Progress of ${job.name}`} value={(job.progress_permille ?? 0) / 10} />}
      </td>
    </>
  );
}

const TONE: Record<string, string> = { committed: 'is-good', running: 'is-busy', cancelled: 'is-idle' };

/** The nodes of attempts, one after the other. */
export function Steps({ steps }: { steps: { node: string; outcome: string }[] }) {
  return (
    <>
      {steps.map(({ node, outcome }, at) => (
        <Fragment key={at}>
          {at > 0 && (
            <span class="arrow" aria-label="then">
              →
            </span>
          )}
          <span class={TONE[outcome] ?? 'is-bad'}>
            <Icon name={outcome} size={11} /> {node}
          </span>
        </Fragment>
      ))}
    </>
  );
}
