// One job: its path with an attempt a row, why it was placed there or waits, and its messages on NATS.

import { Fragment } from 'preact';
import { get, post } from '../lib/api';
import { bytes, clock, fixed, instant, jobStateWords, plural, shortId, span, words } from '../lib/format';
import { showParam } from '../lib/params';
import { go, inspect } from '../lib/route';
import { serviceNow } from '../lib/store';
import type { AttemptSummary, Explanation, JobDetail, Loss, StoredMessage, Submission } from '../lib/wire';
import { PageTitle } from '../ui/header';
import { useLoad } from '../ui/hooks';
import { Icon } from '../ui/icons';
import { Copy, Failed, Loading, Meter, Panel, State, toneOf } from '../ui/parts';
import { Table, type Column } from '../ui/table';
import { order } from '../ui/toast';
import { now } from '../lib/connection';

export function JobPage({ id }: { id: string }) {
  const loaded = useLoad(id, (signal) => get<JobDetail>(`/jobs/${encodeURIComponent(id)}`, signal), 1000);
  const job = loaded.data;
  if (!job) {
    return (
      <>
        <div class="page-head">
          <a href="/jobs">Jobs</a>
          <PageTitle>{`Job ${id}`}</PageTitle>
        </div>
        {loaded.error !== null ? (
          <Failed what="This job cannot be shown" error={loaded.error} retry={loaded.reload} />
        ) : (
          <Loading rows={8} />
        )}
      </>
    );
  }
  const open = job.state === 'queued' || job.state === 'running';
  const cancel = async () => {
    await order(() => post(`/jobs/${job.id}/cancel`), `${job.name} is cancelled`);
    loaded.reload();
  };
  const resubmit = () =>
    order(
      () => post<{ id: string }>(`/jobs/${job.id}/resubmit`),
      (made) => {
        go(`/jobs/${made.id}`);
        return `${job.name} is submitted again`;
      },
    );
  return (
    <>
      <div class="page-head">
        <a href="/jobs">Jobs</a>
        <span class="quiet" aria-hidden="true">
          /
        </span>
        <PageTitle>{job.name}</PageTitle>
        <State of={job.state} label={jobStateWords(job)} />
        <div class="actions">
          <a class="button" href={`/timeline?at=${job.submitted_at_ms}&job=${job.id}`}>
            On the timeline
          </a>
          {job.trace_url && (
            <a class="button" href={job.trace_url} target="_blank" rel="noreferrer">
              <Icon name="link" size={12} /> Trace
            </a>
          )}
          <button disabled={!job.submission} onClick={resubmit}>
            Submit again
          </button>
          {open && (
            <button class="danger" onClick={cancel}>
              Cancel job
            </button>
          )}
        </div>
      </div>
      <div class="columns">
        <Panel title="Path" class="span-8">
          <Path job={job} />
        </Panel>
        <div class="stack span-4">
          <Panel title="Why">
            <Why id={job.id} />
          </Panel>
          <Panel title="Job">
            <Facts job={job} />
          </Panel>
        </div>
      </div>
      <Panel
        title={
          <>
            NATS messages <span class="quiet">{job.messages ? plural(job.messages.length, 'message') : ''}</span>
          </>
        }
        flush
      >
        <Messages messages={job.messages} />
      </Panel>
    </>
  );
}

/** Why it waits, or runs where it does, in the words of the service. */
function Why({ id }: { id: string }) {
  const loaded = useLoad(`why ${id}`, (signal) => get<Explanation>(`/jobs/${encodeURIComponent(id)}/explain`, signal), 2000);
  if (!loaded.data) {
    return loaded.error !== null ? (
      <Failed what="Why cannot be said" error={loaded.error} retry={loaded.reload} />
    ) : (
      <Loading rows={4} />
    );
  }
  return (
    <dl class="facts">
      {loaded.data.lines.map(({ about, words: said }) => (
        <Fragment key={about}>
          <dt>{about.charAt(0).toUpperCase() + about.slice(1)}</dt>
          <dd>{said}</dd>
        </Fragment>
      ))}
    </dl>
  );
}

function Facts({ job }: { job: JobDetail }) {
  void now.value;
  const demand = job.demand;
  return (
    <dl class="facts">
      <dt>Id</dt>
      <dd class="mono with-copy">
        {job.id} <Copy text={job.id} label="Copy the id" />
      </dd>
      <dt>Kind</dt>
      <dd>
        {job.kind}, {job.priority} priority
      </dd>
      {demand && (
        <>
          <dt>Wants</dt>
          <dd>
            {fixed(demand.gpu_milli / 1000, demand.gpu_milli % 1000 ? 2 : 0)} GPU
            {demand.gpu_memory_mib ? `, ${demand.gpu_memory_mib} MiB on each` : ''}
            {demand.models?.length ? `, ${demand.models.join(' or ')}` : ''}
          </dd>
        </>
      )}
      {job.submission && <Submitted submission={job.submission} />}
      <dt>Submitted</dt>
      <dd class="num" title={instant(job.submitted_at_ms)}>
        {clock(job.submitted_at_ms, true)}
      </dd>
      <dt>{job.ended_at_ms ? 'Took' : 'Open for'}</dt>
      <dd class="num">{span((job.ended_at_ms ?? serviceNow()) - job.submitted_at_ms)}</dd>
      <dt>Interrupted</dt>
      <dd>{plural(job.requeues ?? 0, 'attempt')}, at no cost to the job</dd>
      <dt>Failed</dt>
      <dd>{plural(job.failures ?? 0, 'attempt')}, each costs a retry</dd>
      {job.reason && (
        <>
          <dt>Reason</dt>
          <dd>{job.reason}</dd>
        </>
      )}
      {job.result && (
        <>
          <dt>Result</dt>
          <dd class="mono">{job.result}</dd>
        </>
      )}
      <dt>Told by</dt>
      <dd>{words(job.source)}</dd>
    </dl>
  );
}

/** Limits, parameters, and who submitted it. */
function Submitted({ submission }: { submission: Submission }) {
  const { by, resubmitted_from: first } = submission.origin ?? {};
  const params = Object.entries(submission.params ?? {});
  const leftOut = submission.params_left_out_bytes ?? 0;
  return (
    <>
      <dt>Limits</dt>
      <dd>
        {span(submission.timeout_ms)} for an attempt, {plural(submission.max_retries, 'retry', 'retries')}
      </dd>
      <dt>Parameters</dt>
      <dd class={params.length ? 'mono break' : ''}>
        {leftOut > 0
          ? `${bytes(leftOut)}, too long to be kept in the record`
          : params.map(([name, value]) => `${name}=${showParam(value)}`).join(', ') || 'none'}
      </dd>
      <dt>Submitted by</dt>
      <dd>{by ? `${by} (as the submitter states)` : 'not stated'}</dd>
      {first && (
        <>
          <dt>Repeats</dt>
          <dd class="mono">
            <a href={`/jobs/${first}`}>{shortId(first)}</a>
          </dd>
        </>
      )}
    </>
  );
}

function Path({ job }: { job: JobDetail }) {
  const attempts = job.attempts ?? [];
  const last = attempts[attempts.length - 1];
  return (
    <ol class="steps">
      <li>
        <time>{clock(job.submitted_at_ms, true)}</time>
        <Icon name="queued" />
        <div>
          <b>queued</b> <span class="quiet">durable in the stream JOBS</span>
        </div>
      </li>
      {attempts.map((attempt, at) => (
        <Step key={attempt.attempt} job={job} attempt={attempt} next={attempts[at + 1]} />
      ))}
      {job.waiting && job.state === 'queued' && <Waiting job={job} />}
      {typeof job.ended_at_ms === 'number' && last?.outcome !== 'committed' && (
        <li>
          <time>{clock(job.ended_at_ms, true)}</time>
          <Icon name={job.state} class={`is-${toneOf(job.state)}`} />
          <div>
            <b>{jobStateWords(job)}</b> <span class="quiet">{job.reason}</span>
          </div>
        </li>
      )}
    </ol>
  );
}

const BROKEN = new Set(['lost', 'failed', 'timed_out']);

/** Such as: at 40 %: worker-03 killed (SIGKILL) by the dashboard, noticed after 1.9 s. */
function lossText(loss: Loss | undefined): string {
  if (!loss) return '';
  const { progress_permille: progress, cause } = loss;
  const said = [
    typeof progress === 'number' && `at ${fixed(progress / 10)} %`,
    cause && `${cause.headline}, noticed after ${span(cause.noticed_after_ms)}`,
  ];
  return said.filter(Boolean).join(': ');
}

function Step({ job, attempt, next }: { job: JobDetail; attempt: AttemptSummary; next: AttemptSummary | undefined }) {
  const from = attempt.started_at_ms ?? attempt.placed_at_ms;
  const broken = BROKEN.has(attempt.outcome);
  const running = attempt.outcome === 'running';
  const percent = (job.progress_permille ?? 0) / 10;
  const loss = lossText(job.losses.find((known) => known.attempt === attempt.attempt));
  return (
    <li>
      <time>{clock(attempt.placed_at_ms, true)}</time>
      <Icon name={attempt.outcome} class={`is-${toneOf(attempt.outcome) || 'idle'}`} />
      <div class="stack tight">
        <div class="row">
          <button class="link strong" onClick={() => inspect(attempt.node)}>
            {attempt.node}
          </button>
          <State of={attempt.outcome} />
          <span class="quiet num">
            {attempt.gpus.length ? `GPU ${attempt.gpus.join(', ')}, ` : ''}
            {attempt.ended_at_ms ? `ran ${span(attempt.ended_at_ms - from)}` : running ? `runs for ${span(serviceNow() - from)}` : ''}
          </span>
        </div>
        {running && (
          <div class="row">
            <Meter label="Progress" kind="progress" value={percent} />
            <span class="num">{fixed(percent)} %</span>
          </div>
        )}
        {loss && <p class="num">{loss}</p>}
        {attempt.detail && <p class={broken ? 'is-bad' : 'quiet'}>{attempt.detail}</p>}
        {broken && (
          <p>
            {next
              ? `requeued, and placed again ${attempt.ended_at_ms ? `${span(next.placed_at_ms - attempt.ended_at_ms)} later` : ''}`
              : job.state === 'queued'
                ? 'requeued'
                : ''}
          </p>
        )}
        {attempt.why && <p class="quiet">Chosen because: {attempt.why}</p>}
      </div>
    </li>
  );
}

function Waiting({ job }: { job: JobDetail }) {
  const waiting = job.waiting!;
  return (
    <li>
      <time>now</time>
      <Icon name="queued" class="is-warn" />
      <div class="stack tight">
        <b>waits for {span(serviceNow() - waiting.since_ms)}</b>
        <p>{waiting.summary}</p>
        <ul class="quiet">
          {waiting.rejects.map((reject) => (
            <li key={reject.reason} class="plain">
              {plural(reject.nodes, 'node')}: {words(reject.reason)}
            </li>
          ))}
        </ul>
      </div>
    </li>
  );
}

function Messages({ messages }: { messages: StoredMessage[] | undefined }) {
  if (!messages?.length) return <p class="inset quiet">No message of this job is in the streams any more, or the service does not report it.</p>;
  return <Table columns={MESSAGE_COLUMNS} rows={messages} keyOf={(message) => `${message.stream} ${message.seq}`} />;
}

const MESSAGE_COLUMNS: Column<StoredMessage>[] = [
  { title: 'Time', class: () => 'num nowrap', cell: (message) => clock(message.at_ms, true) },
  { title: 'Stream', cell: (message) => message.stream },
  { title: 'Sequence', number: true, cell: (message) => message.seq },
  { title: 'Subject, headers and body', cell: (message) => <MessageBody message={message} /> },
];

function MessageBody({ message }: { message: StoredMessage }) {
  return (
    <div class="stack tight">
      <span class="command">
        <code class="break">{message.subject}</code>
        <Copy text={message.subject} label={`Copy the subject ${message.subject}`} />
      </span>
      <div class="facts-line">
        {Object.entries(message.headers).map(([name, value]) => (
          <span key={name}>
            <span class="mono">{name}</span>: {value}
          </span>
        ))}
      </div>
      <details>
        <summary>Body</summary>
        <pre tabIndex={0}>{JSON.stringify(message.body, null, 2)}</pre>
      </details>
    </div>
  );
}
