// Jobs: pages and filters are the service's; here one asks, submits and cancels.

import { useState } from 'preact/hooks';
import { get, post, query } from '../lib/api';
import { clock, count, DASH, fixed, instant, plural, span } from '../lib/format';
import { param, setParams } from '../lib/route';
import { serviceNow } from '../lib/store';
import type { JobsPage, JobView } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad, useModal } from '../ui/hooks';
import { JobCells, Steps } from '../ui/job-cells';
import { Empty, Failed, Loading } from '../ui/parts';
import { order } from '../ui/toast';
import { now } from '../lib/connection';
import { SubmitForm } from './submit';

const STATES = ['queued', 'running', 'committed', 'dead', 'cancelled', 'abandoned'];
const KINDS = ['sleep', 'compute', 'matrix', 'fault'];
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];
const PER_PAGE = 50;
const FILTERS = ['state', 'kind', 'node', 'priority', 'attempts_min', 'q'] as const;

export const filters = () => Object.fromEntries(FILTERS.map((name) => [name, param(name)])) as Record<(typeof FILTERS)[number], string>;
const setFilter = (name: string, value: string | null) => setParams({ [name]: value, page: null });

export function Jobs() {
  const page = Math.max(1, Number(param('page')) || 1);
  const key = query({ ...filters(), sort: param('sort'), page, per_page: PER_PAGE });
  const loaded = useLoad(key, (signal) => get<JobsPage>(`/jobs${key}`, signal), 1500);
  const submitting = param('submit') === 'yes';
  const total = loaded.data?.total ?? 0;
  return (
    <>
      <div class="page-head">
        <PageTitle>Jobs</PageTitle>
        <span class="sub num">{loaded.data ? plural(total, 'job') : ''}</span>
        <div class="actions">
          <CancelMatching total={total} after={loaded.reload} />
          <button class="primary" aria-expanded={submitting} onClick={() => setParams({ submit: submitting ? null : 'yes' })}>
            Submit jobs
          </button>
        </div>
      </div>
      {submitting && <SubmitForm after={loaded.reload} />}
      <JobFilters />
      {loaded.error !== null && !loaded.data ? (
        <Failed what="The jobs cannot be listed" error={loaded.error} retry={loaded.reload} />
      ) : !loaded.data ? (
        <Loading rows={10} />
      ) : !loaded.data.items.length ? (
        <Nothing />
      ) : (
        <JobTable rows={loaded.data.items} />
      )}
      <Pages page={page} total={total} />
    </>
  );
}

function Nothing() {
  const filtered = FILTERS.some((name) => param(name));
  return filtered ? (
    <Empty title="No job matches the filters">
      <button class="link" onClick={() => setParams(Object.fromEntries(FILTERS.map((name) => [name, null])))}>
        Clear them
      </button>
    </Empty>
  ) : (
    <Empty title="No job yet">
      Raise the rate on the <a href="/">overview</a>, or submit one here. Records of ended jobs are kept for 10 minutes.
    </Empty>
  );
}

export function JobFilters() {
  const given = filters();
  const choice = (name: (typeof FILTERS)[number], label: string, options: string[]) => (
    <label class="field">
      {label}
      <select value={given[name]} onChange={(event) => setFilter(name, event.currentTarget.value)}>
        <option value="">any</option>
        {options.map((option) => (
          <option key={option} value={option}>
            {option === 'dead' ? 'given up' : option}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      {choice('state', 'State', STATES)}
      {choice('kind', 'Kind', given.kind && !KINDS.includes(given.kind) ? [...KINDS, given.kind] : KINDS)}
      {choice('priority', 'Priority', PRIORITIES)}
      <label class="field">
        Node
        <input
          value={given.node}
          placeholder="gpu-node-03"
          maxLength={100}
          onChange={(event) => setFilter('node', event.currentTarget.value.trim())}
        />
      </label>
      <label class="field wide">
        Name, id or reason
        <input type="search" value={given.q} maxLength={100} onInput={(event) => setFilter('q', event.currentTarget.value)} />
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={given.attempts_min === '2'}
          onChange={(event) => setFilter('attempts_min', event.currentTarget.checked ? '2' : null)}
        />
        more than one attempt
      </label>
      {Object.values(given).some(Boolean) && (
        <button type="button" onClick={() => setParams({ ...Object.fromEntries(FILTERS.map((name) => [name, null])), page: null })}>
          Clear
        </button>
      )}
    </form>
  );
}

/** Asks before it cancels: the number is that of the moment, and jobs come and go meanwhile. */
function CancelMatching({ total, after }: { total: number; after: () => void }) {
  const [asking, setAsking] = useState(false);
  const dialog = useModal(asking);
  const given = filters();
  const state = given.state;
  const possible = total > 0 && (!state || state === 'queued' || state === 'running');
  const chosen = Object.entries(given).filter(([, value]) => value);
  const cancel = async () => {
    const body: Record<string, unknown> = Object.fromEntries(
      chosen.map(([name, value]) => [name, name === 'attempts_min' ? Number(value) : value]),
    );
    if (!chosen.length) body.all = true;
    await order(
      () => post<{ cancelled: number }>('/jobs/cancel', body),
      (reply) => `${plural(reply.cancelled, 'job')} cancelled`,
    );
    after();
  };
  return (
    <>
      <button class="danger" disabled={!possible} onClick={() => setAsking(true)}>
        Cancel all that match
      </button>
      {asking && (
        <dialog ref={dialog} onClose={() => setAsking(false)} aria-labelledby="cancel-title">
          <form method="dialog" class="dialog-body">
            <h2 id="cancel-title">Cancel all jobs that match?</h2>
            <p>
              {chosen.length ? (
                <>Filters: {chosen.map(([name, value]) => `${name.replace('_', ' ')} ${value}`).join(', ')}.</>
              ) : (
                'No filter is set: this means every job.'
              )}{' '}
              Queued and running jobs among the {count(total)} are cancelled, at most 1,000 at a time; ended ones stay as they are.
            </p>
            <div class="row">
              <button class="danger" onClick={cancel}>
                Cancel the jobs
              </button>
              <button>Keep them</button>
            </div>
          </form>
        </dialog>
      )}
    </>
  );
}

export function PathLine({ job }: { job: JobView }) {
  const attempts = job.attempts ?? [];
  if (!attempts.length)
    return <span class="quiet">{job.waiting?.summary ?? (job.state === 'queued' ? 'waits to be placed' : '')}</span>;
  const shown = attempts.slice(-4);
  return (
    <span class="path">
      {attempts.length > shown.length && <span class="quiet">{plural(attempts.length - shown.length, 'earlier attempt')} →</span>}
      <Steps steps={shown} />
    </span>
  );
}

/** From the submission to the first placement, in milliseconds; of a job that was never placed, until now or its end. */
function waited(job: JobView): number {
  const placed = job.attempts?.[0]?.placed_at_ms ?? job.ended_at_ms ?? serviceNow();
  return placed - job.submitted_at_ms;
}

/** The list of attempts is capped, so the counters count too. */
function attemptsOf({ attempts, failures = 0, requeues = 0, state }: JobView): number {
  const last = state === 'committed' || state === 'running' ? 1 : 0;
  return Math.max(attempts?.length ?? 0, failures + requeues + last);
}

function gpusOf(job: JobView): string {
  const milli = job.demand?.gpu_milli ?? job.attempts?.at(-1)?.gpu_milli;
  return milli === undefined ? DASH : String(milli / 1000);
}

/** A heading that sorts: once by it, once the other way, then as before. */
function SortBy({ by, title, first = 'up' }: { by: string; title: string; first?: 'up' | 'down' }) {
  const current = param('sort');
  const [one, other] = first === 'up' ? [by, `-${by}`] : [`-${by}`, by];
  const next = current === one ? other : current === other ? null : one;
  const is = current === by ? 'ascending' : current === `-${by}` ? 'descending' : undefined;
  return (
    <th scope="col" class={first === 'down' ? 'right' : ''} aria-sort={is}>
      <button class="sort" onClick={() => setParams({ sort: next, page: null })}>
        {title}
        <span aria-hidden="true">{is === 'ascending' ? ' ▲' : is === 'descending' ? ' ▼' : ''}</span>
      </button>
    </th>
  );
}

function JobTable({ rows }: { rows: JobView[] }) {
  void now.value;
  return (
    <section class="panel" aria-label="Jobs">
      <div class="scroll-x">
        <table class="folding">
          <thead>
            <tr>
              <SortBy by="name" title="Job" />
              <SortBy by="kind" title="Kind" />
              <SortBy by="priority" title="Priority" />
              <SortBy by="state" title="State" />
              <SortBy by="gpus" title="GPUs" first="down" />
              <SortBy by="attempts" title="Attempts" first="down" />
              <th scope="col">Path</th>
              <SortBy by="submitted" title="Submitted" first="down" />
              <SortBy by="wait" title="Waited" first="down" />
              <SortBy by="took" title="Took" first="down" />
            </tr>
          </thead>
          <tbody>
            {rows.map((job) => {
              const attempts = attemptsOf(job);
              return (
                <tr key={job.id}>
                  <JobCells job={job} />
                  <td class="num right" data-label="GPUs">
                    {gpusOf(job)}
                  </td>
                  <td class={`num right ${attempts > 1 ? 'is-warn' : ''}`} data-label="attempts">
                    {count(attempts)}
                  </td>
                  <td>
                    <PathLine job={job} />
                  </td>
                  <td class="num right nowrap" title={instant(job.submitted_at_ms)}>
                    {clock(job.submitted_at_ms)}
                  </td>
                  <td class="num right nowrap" data-label="waited">
                    {span(waited(job))}
                  </td>
                  <td class="num right nowrap" data-label="took">
                    {span((job.ended_at_ms ?? serviceNow()) - job.submitted_at_ms)}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Pages({ page, total }: { page: number; total: number }) {
  const last = Math.max(1, Math.ceil(total / PER_PAGE));
  if (last === 1 && page === 1) return null;
  const to = (next: number) => setParams({ page: next === 1 ? null : fixed(next) });
  return (
    <nav class="row center" aria-label="Pages of jobs">
      <button disabled={page <= 1} onClick={() => to(1)}>
        Newest
      </button>
      <button disabled={page <= 1} onClick={() => to(page - 1)}>
        Newer
      </button>
      <span class="num">
        page {count(page)} of {count(last)}
      </span>
      <button disabled={page >= last} onClick={() => to(page + 1)}>
        Older
      </button>
      <button disabled={page >= last} onClick={() => to(last)}>
        Oldest
      </button>
    </nav>
  );
}
