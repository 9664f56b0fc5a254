// What can be done to a node and to the process that hosts it. What is told afterwards is what the service says has happened.

import { useState } from 'preact/hooks';
import { post } from '../lib/api';
import { plural, span } from '../lib/format';
import { chaos } from '../lib/store';
import type { NodeDetail } from '../lib/wire';
import type { KillDone } from '../lib/wire';
import { breakNode, drain, pathOf, restore } from './give';
import { useModal } from './hooks';
import { Icon } from './icons';
import { order } from './toast';

export function Orders({ name, detail, after }: { name: string; detail: NodeDetail; after: () => void }) {
  const then = async (given: Promise<boolean>) => {
    await given;
    after();
  };
  const put = (kind: string, more = {}) => then(breakNode(name, kind, more));
  return (
    <section aria-label="Orders" class="stack">
      <div class="row">
        <button class="danger" onClick={() => put('crash')} title="Simulated: the node vanishes for 10 s with all that it runs">
          <Icon name="dead" size={12} />
          Crash this node
        </button>
        <KillProcess path={pathOf(name, 'kill')} detail={detail} after={after} />
      </div>
      <div class="row">
        <button onClick={() => put('heartbeat_loss')}>Freeze heartbeats</button>
        <button onClick={() => put('slow', { factor: 3 })}>Slow</button>
        {detail.draining ? (
          <button onClick={() => then(drain(name, 'undrain', `${name} takes jobs again`))}>Undrain</button>
        ) : (
          <button onClick={() => then(drain(name, 'drain', `${name} takes no new jobs`))}>Drain</button>
        )}
        <button onClick={() => then(restore(name))}>Restore</button>
      </div>
    </section>
  );
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
