// The caption of `faultline demo`: what just died, in large letters, and what has become of the jobs.

import { useState } from 'preact/hooks';
import { signal } from '@preact/signals';
import { post } from '../lib/api';
import { cellAt } from '../lib/frame';
import { ordersOff } from '../lib/instant';
import { count, plural } from '../lib/format';
import { demo, frame, index, stats } from '../lib/store';
import type { KillDone } from '../lib/wire';
import { order } from './toast';

const killing = signal(false);

/** The node whose worker runs the most jobs. */
export function busiest(): string | null {
  const { workers, worker_of: workerOf, nodes } = index.peek();
  const shown = frame.peek();
  if (!shown) return null;
  const running = new Array<number>(workers.length).fill(0);
  nodes.forEach((_, at) => {
    const cell = cellAt(shown, at);
    if (cell?.health === 'alive') running[workerOf[at]!]! += cell.running;
  });
  const most = running.indexOf(Math.max(...running));
  const at = nodes.findIndex((_, node) => workerOf[node] === most);
  return running[most] ? (nodes[at] ?? null) : null;
}

/** Kills the worker that runs the most jobs, when the demo asks for it; whether it does. */
export function killOnDemand(): boolean {
  if (!demo.peek()?.scene?.your_turn || ordersOff.peek()) return false;
  void kill();
  return true;
}

async function kill(): Promise<void> {
  const node = busiest();
  if (!node || killing.peek()) return;
  killing.value = true;
  const told = ({ service, attempts }: KillDone) => `${service} was killed: ${plural(attempts, 'job')} ran there`;
  await order(() => post<KillDone>(`/nodes/${encodeURIComponent(node)}/kill`), told);
  killing.value = false;
}

export function DemoCaption() {
  const [isClosed, setClosed] = useState(false);
  const state = demo.value;
  const scene = state?.scene;
  if (!state || !scene || isClosed) return null;
  const lost = stats.value?.jobs_lost;
  return (
    <section class="demo" aria-label="Demo">
      <div class="grow" role="status">
        <h2>
          <span class="quiet num">
            {scene.number}/{scene.of}
          </span>{' '}
          {scene.title}
        </h2>
        <p>{scene.text}</p>
      </div>
      <p class="tally num">
        {state.interrupted ? (
          <>
            <b>{count(state.moved)}</b> of {plural(state.interrupted, 'job')} moved
          </>
        ) : (
          'no job interrupted'
        )}
        <br />
        {typeof lost === 'number' ? (
          <>
            <b>{count(lost)}</b> lost
          </>
        ) : (
          <span class="quiet">losses not judged yet</span>
        )}
      </p>
      {scene.your_turn && (
        <button class="primary" disabled={killing.value || ordersOff.value} onClick={() => void kill()}>
          Kill a worker <kbd>K</kbd>
        </button>
      )}
      <button onClick={() => setClosed(true)}>Hide</button>
    </section>
  );
}
