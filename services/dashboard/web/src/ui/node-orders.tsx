// What can be done to a node and to the process that hosts it. What is told afterwards is what the service says has happened.

import { useState } from 'preact/hooks';
import { post } from '../lib/api';
import { plural, span } from '../lib/format';
import { chaos } from '../lib/store';
import type { NodeDetail } from '../lib/wire';
import type { FaultView, KillDone } from '../lib/wire';
import { useModal } from './hooks';
import { Icon } from './icons';
import { order } from './toast';

const FAULT_MS = 10_000;

export function Orders({ name, detail, after }: { name: string; detail: NodeDetail; after: () => void }) {
  const path = (what: string) => `/nodes/${encodeURIComponent(name)}/${what}`;
  // What was asked for is said to be so only once the leading scheduler says the same.
  const drain = async (what: 'drain' | 'undrain', done: string) => {
    const body = what === 'drain' ? { reason: 'drained from the dashboard' } : undefined;
    await order(
      () => post<{ in_force: boolean }>(path(what), body),
      (reply) => (reply.in_force ? done : `${what} of ${name} is stored; no scheduler that knows the node has answered yet`),
    );
    after();
  };
  const fault = async (what: string, body: unknown) => {
    await order(() => post<FaultView>(path(what), body), faultText);
    after();
  };
  const put = (kind: string, more = {}) => fault('fault', { kind, for_ms: FAULT_MS, ...more });
  return (
    <section aria-label="Orders" class="stack">
      <div class="row">
        <button class="danger" onClick={() => put('crash')} title="Simulated: the node vanishes for 10 s with all that it runs">
          <Icon name="dead" size={12} />
          Crash this node
        </button>
        <KillProcess path={path('kill')} detail={detail} after={after} />
      </div>
      <div class="row">
        <button onClick={() => put('heartbeat_loss')}>Freeze heartbeats</button>
        <button onClick={() => put('slow', { factor: 3 })}>Slow</button>
        {detail.draining ? (
          <button onClick={() => drain('undrain', `${name} takes jobs again`)}>Undrain</button>
        ) : (
          <button onClick={() => drain('drain', `${name} takes no new jobs`)}>Drain</button>
        )}
        <button onClick={() => fault('restore', {})}>Restore</button>
      </div>
    </section>
  );
}

function faultText({ node, worker, kind, outcome }: FaultView): string {
  if (outcome) return `${node}: ${outcome}`;
  if (kind === 'restore') return `${worker} found no fault to end on ${node}`;
  return `${kind} ordered on ${node}; ${worker} has not confirmed it yet. Its events show when it does`;
}

function killText({ service, pid, ended_after_ms: ended, back }: KillDone): string {
  const was = `${service} (process ${pid})`;
  if (ended === null) return `${was} got SIGKILL and has not ended yet`;
  const now = back ? `it runs again as process ${back.pid} after ${span(back.after_ms)}` : 'it does not run again yet';
  return `${was} ended ${span(ended)} after SIGKILL; ${now}`;
}

function KillProcess({ path, detail, after }: { path: string; detail: NodeDetail; after: () => void }) {
  const [asking, setAsking] = useState(false);
  const dialog = useModal(asking);
  const { worker, worker_nodes: hosted, worker_attempts: attempts } = detail;
  const others = hosted > 1 ? `, which also hosts ${plural(hosted - 1, 'other node')}` : '';
  const possible = chaos.value?.available !== false;
  const kill = async () => {
    setAsking(false);
    await order(() => post<KillDone>(path, {}), killText);
    after();
  };
  return (
    <>
      <button
        class="danger wraps"
        disabled={!possible}
        title={possible ? 'SIGKILL, now' : (chaos.value?.reason ?? undefined)}
        onClick={() => setAsking(true)}
      >
        Kill the process {worker}
        {others}
      </button>
      {asking && (
        <dialog ref={dialog} onClose={() => setAsking(false)} aria-labelledby="kill-title">
          <form method="dialog" class="dialog-body">
            <h2 id="kill-title">Kill the process {worker}?</h2>
            <p>
              It hosts {plural(hosted, 'node')}.{' '}
              {attempts
                ? `${plural(attempts, 'running job')} on ${hosted === 1 ? 'it' : 'them'} would be interrupted and placed elsewhere.`
                : 'No job runs there now.'}{' '}
              <code>faultline up</code> starts the process again.
            </p>
            <div class="row">
              <button class="danger" onClick={kill}>
                Kill {worker}
              </button>
              <button>Keep it</button>
            </div>
          </form>
        </dialog>
      )}
    </>
  );
}
