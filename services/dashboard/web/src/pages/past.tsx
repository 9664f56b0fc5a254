// The pages whose live form asks the service, as they were at the instant on display: what the pushes of that instant said, and plainly what
// they did not. Overview, Nodes and Timeline are the same pages as live ones.

import type { JSX } from 'preact';
import { clock, instant as dated, jobStateWords, plural, shortId, span, words } from '../lib/format';
import { failures, goTo } from '../lib/past';
import { chaos, events, incidents, jobsVersion, recentJobs, serviceNow } from '../lib/store';
import type { JobBrief } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { IncidentCard } from '../ui/incident';
import { JobCells, Steps } from '../ui/job-cells';
import { Empty, Loading, Meter, Panel, State } from '../ui/parts';
import { NotKept } from '../ui/past';
import { EventFilters, EventTable, filterNow, matches } from './events';
import { JobFilters, filters } from './jobs';

/** The page for an address in the past; null where the live one shows the past itself. */
export function pastPage(here: string): JSX.Element | null {
  const id = decodeURIComponent(here.split('/')[2] ?? '');
  switch (here.split('/')[1]) {
    case 'jobs':
      return id ? <Job id={id} key={here} /> : <Jobs />;
    case 'incidents':
      return id ? <Incident id={id} key={here} /> : <Incidents />;
    case 'events':
      return <Events />;
    case 'chaos':
      return <Chaos />;
    case 'system':
    case 'messaging':
      return (
        <Page title="System">
          <NotKept what="Processes, logs, and the figures of JetStream are not kept">They are only known of now.</NotKept>
        </Page>
      );
    default:
      return null;
  }
}

function Page({ title, sub = '', children }: { title: string; sub?: string; children: JSX.Element | JSX.Element[] }) {
  return (
    <>
      <div class="page-head">
        <PageTitle>{title}</PageTitle>
        <span class="sub num">{sub}</span>
      </div>
      {children}
    </>
  );
}

function wanted(job: JobBrief): boolean {
  const { state, kind, node, priority, attempts_min: attempts, q } = filters();
  const text = q.toLowerCase();
  return (
    (!state || job.state === state) &&
    (!kind || job.kind === kind) &&
    (!priority || job.priority === priority) &&
    (!node || job.node === node || job.path.some((step) => step.node === node)) &&
    job.path.length >= Number(attempts || 0) &&
    (!text || [job.name, job.id, job.note].some((field) => field.toLowerCase().includes(text)))
  );
}

function Jobs() {
  void jobsVersion.value;
  const all = [...recentJobs.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  const rows = all.filter(wanted);
  return (
    <Page title="Jobs" sub={`the newest ${all.length} as they stood at ${clock(serviceNow())}; older ones are not kept`}>
      <JobFilters />
      {rows.length ? <JobTable rows={rows} /> : <Empty title={all.length ? 'No job matches the filters' : 'No job yet at that instant'} />}
    </Page>
  );
}

function JobTable({ rows }: { rows: JobBrief[] }) {
  const titles = ['Job', 'Kind', 'Priority', 'State', 'Path'];
  return (
    <section class="panel" aria-label="Jobs">
      <div class="scroll-x">
        <table class="folding">
          <thead>
            <tr>
              {titles.map((title) => (
                <th scope="col" key={title}>
                  {title}
                </th>
              ))}
              <th scope="col" class="right">
                Submitted
              </th>
              <th scope="col" class="right">
                Took
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((job) => (
              <tr key={job.id}>
                <JobCells job={job} />
                <td>{job.path.length ? <Path job={job} /> : <span class="quiet">{job.note}</span>}</td>
                <td class="num right nowrap" title={dated(job.submitted_at_ms)}>
                  {clock(job.submitted_at_ms)}
                </td>
                <td class="num right nowrap">{span((job.ended_at_ms ?? serviceNow()) - job.submitted_at_ms)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Path({ job }: { job: JobBrief }) {
  return (
    <span class="path">
      <Steps steps={job.path} />
    </span>
  );
}

function Job({ id }: { id: string }) {
  void jobsVersion.value;
  const job = recentJobs.get(id);
  if (!job)
    return (
      <Page title={`Job ${shortId(id)}`}>
        <NotKept what="This job is not known of that instant">It had not been submitted yet, or was not among the newest 50.</NotKept>
      </Page>
    );
  return (
    <Page title={job.name} sub={`as it stood at ${clock(serviceNow())}`}>
      <Panel title="Job" aside={<State of={job.state} label={jobStateWords(job)} />}>
        <dl class="facts">
          <dt>Id</dt>
          <dd class="mono">{job.id}</dd>
          <dt>Kind</dt>
          <dd>
            {job.kind}, {job.priority} priority
          </dd>
          <dt>Path</dt>
          <dd>{job.path.length ? <Path job={job} /> : 'not placed yet'}</dd>
          <dt>Submitted</dt>
          <dd class="num" title={dated(job.submitted_at_ms)}>
            {clock(job.submitted_at_ms, true)}
          </dd>
          <dt>{job.ended_at_ms ? 'Took' : 'Open for'}</dt>
          <dd class="num">{span((job.ended_at_ms ?? serviceNow()) - job.submitted_at_ms)}</dd>
          {job.state === 'running' && (
            <>
              <dt>Progress</dt>
              <dd>
                <Meter kind="progress" label="Progress" value={job.progress_permille / 10} />
              </dd>
            </>
          )}
          {job.note && (
            <>
              <dt>Note</dt>
              <dd class="break">{job.note}</dd>
            </>
          )}
        </dl>
        <p class="quiet">Times of its attempts and its messages are not kept: the live page has them as long as the job is known.</p>
      </Panel>
    </Page>
  );
}

function Incidents() {
  const known = incidents.value;
  return (
    <Page title="Incidents" sub={known ? `the newest ${known.length} as they stood at ${clock(serviceNow())}` : ''}>
      {!known ? (
        <NotKept what="The history could not be read at that instant" />
      ) : known.length ? (
        <div class="panel flush">
          {known.map((incident) => (
            <IncidentCard key={incident.id} incident={incident} />
          ))}
        </div>
      ) : (
        <Empty title="Nothing had failed in the hour before" />
      )}
    </Page>
  );
}

function Incident({ id }: { id: string }) {
  const then = incidents.value?.find((incident) => incident.id === id);
  const later = failures.value.find((incident) => incident.id === id);
  return (
    <Page title="Incident" sub={id}>
      {then ? (
        <div class="panel flush">
          <IncidentCard incident={then} open />
        </div>
      ) : later && later.began_ms > serviceNow() ? (
        <Empty title={`It begins at ${clock(later.began_ms)}, ${span(later.began_ms - serviceNow())} later`}>
          <button class="link" onClick={() => void goTo(later.recovered_ms ?? later.began_ms + 1000)}>
            Go there
          </button>
        </Empty>
      ) : (
        <NotKept what="This incident is not known of that instant">It was not among the newest 6.</NotKept>
      )}
    </Page>
  );
}

const MOST_EVENTS = 1000;

function Events() {
  const filter = filterNow();
  const until = serviceNow();
  const rows = events.value
    .filter((event) => event.at_ms <= until && matches(event, filter))
    .slice(-MOST_EVENTS)
    .reverse();
  const services = [...new Set(events.value.map((event) => event.service))].sort();
  return (
    <Page title="Events" sub={`up to ${clock(until)}, newest first; of the last ${plural(events.value.length, 'event')} before`}>
      <EventFilters filter={filter} services={services} />
      {rows.length ? <EventTable rows={rows} /> : <Empty title="No event matches" />}
    </Page>
  );
}

function Chaos() {
  const state = chaos.value;
  if (!state) return <Loading />;
  const { running } = state;
  return (
    <Page title="Chaos">
      {running && running.phase !== 'done' ? (
        <Panel title={<>Under way: {words(running.kind)}</>} aside={<State of="active" label={running.phase} />}>
          <p>{running.detail || 'No more is known of it.'}</p>
        </Panel>
      ) : (
        <Empty title="No experiment ran at that instant" />
      )}
      <NotKept what="Experiments cannot be started in the past">Their reports are on the live page.</NotKept>
    </Page>
  );
}
