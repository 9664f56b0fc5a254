// Ten thousand nodes of real workers at two frames a second: frames stay small, the page stays fluent, and the table knows all of them.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { twinRows } from './lib/browser.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const WORKERS = 10;
const NODES_EACH = 1000;
const NODES = WORKERS * NODES_EACH;
const MOST_BYTES = 64 * 1024;
const LEAST_FPS = 30;
const MEASURED_MS = 4000;
const on = suite({ workers: WORKERS, nodes: NODES_EACH, flags: ['--schedulers', '1', '--rate', '50', '--no-proxy'] });

/** Frames a second that the page draws, the longest pause between two, and how often the packed telemetry came meanwhile. */
const fluency = (page) =>
  page.evaluate(
    (forMs) =>
      new Promise((resolve) => {
        const begin = performance.now();
        let [frames, last, longest] = [0, begin, 0];
        const tick = (now) => {
          frames += 1;
          longest = Math.max(longest, now - last);
          last = now;
          if (now - begin < forMs) requestAnimationFrame(tick);
          else resolve({ fps: (frames - 1) / ((now - begin) / 1000), longest });
        };
        requestAnimationFrame(tick);
      }),
    MEASURED_MS,
  );

/** The sizes of what the page's WebSockets receive from now on. */
function listen(page) {
  const received = { text: 0, binary: 0, rounds: 0 };
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => {
      if (typeof payload === 'string') received.text = Math.max(received.text, Buffer.byteLength(payload));
      else [received.binary, received.rounds] = [Math.max(received.binary, payload.length), received.rounds + 1];
    }),
  );
  return received;
}

test('frames are at most 64 KiB and the page stays above 30 frames a second', async (t) => {
  const page = await on.open();
  const received = listen(page);
  await page.reload();
  await page.getByText(`${NODES.toLocaleString('en')} nodes in`).waitFor();
  for (const path of ['/?heat=temperature', '/nodes', '/timeline']) {
    await page.goto(on.cluster.url + path);
    await page.locator('.connection[data-link="live"]').waitFor();
    await eventually('it is loaded', async () => (await page.locator('.skeleton').count()) === 0);
    const before = received.rounds;
    const { fps, longest } = await fluency(page);
    const rounds = (received.rounds - before) / (MEASURED_MS / 1000);
    t.diagnostic(`${path}: ${fps.toFixed(0)} frames a second, longest pause ${longest.toFixed(0)} ms, ${rounds.toFixed(1)} rounds a second`);
    assert.ok(fps >= LEAST_FPS, `${path}: ${fps.toFixed(1)} frames a second`);
    assert.ok(rounds >= 1.5, `${path}: ${rounds.toFixed(1)} rounds a second`);
  }
  t.diagnostic(`largest messages: text ${received.text} bytes, binary ${received.binary} bytes, of ${received.rounds} rounds`);
  assert.equal(received.binary, 16 + 5 * NODES);
  assert.ok(Math.max(received.text, received.binary) <= MOST_BYTES);
});

test('the table holds only the visible rows, and each has what its worker and the detector say', async () => {
  const page = await on.open('/nodes');
  const list = page.getByRole('list', { name: 'Nodes' });
  await list.getByText('gpu-node-01', { exact: true }).waitFor();
  const cells = async (node) => {
    const row = list.getByRole('listitem').filter({ has: page.getByText(node, { exact: true }) });
    return row.evaluate((element) => [...element.children].map((cell) => cell.innerText.trim()));
  };
  const isComplete = async (node, worker) => {
    const [name, rack, state, , , heat, power, jobs, heartbeat, phi, fails, of] = await cells(node);
    return (
      name === node && rack.startsWith('rack-') && state === 'alive' && /^\d+ °C$/.test(heat) && /^[1-9]\d* W$/.test(power) &&
      /^\d/.test(jobs) && heartbeat !== '' && /^\d+\.\d$/.test(phi) && fails === '0.0 %/min' && of === worker
    );
  };
  await eventually('the first row is complete', () => isComplete('gpu-node-01', 'worker-01'));
  await list.evaluate((element) => {
    element.scrollTop = element.scrollHeight;
  });
  await list.getByText('gpu-node-10000').waitFor();
  await eventually('the last row is complete', () => isComplete('gpu-node-10000', 'worker-10'));
  assert.ok((await list.getByRole('listitem').count()) < 80);
});

test('filters find nodes among all of them', async () => {
  const page = await on.open('/nodes?worker=worker-07');
  const shown = page.locator('.page-head .sub');
  await shown.getByText('1,000 of 10,000 nodes').waitFor();
  await page.getByLabel('Name or model').fill('node-6123');
  await shown.getByText('1 of 10,000 nodes').waitFor();
  await page.reload();
  await shown.getByText('1 of 10,000 nodes').waitFor();
  await on.cluster.ask('drain', 'gpu-node-6123');
  await page.goto(`${on.cluster.url}/nodes?health=draining`);
  await shown.getByText('1 of 10,000 nodes').waitFor();
  const { workers, models, nodes } = await on.cluster.get('/nodes/index');
  assert.deepEqual([workers.length, nodes.length], [WORKERS, NODES]);
  await page.goto(`${on.cluster.url}/nodes?q=${encodeURIComponent(models[0].slice(0, 4))}`);
  await eventually('a part of the model finds nodes', async () => /^([1-9][\d,]* of )?10,000 nodes$/.test(await shown.innerText()));
  await page.goto(`${on.cluster.url}/nodes?q=no-such-node`);
  await page.getByText('No node matches the filters').waitFor();
});

test('a click on a cell opens its node', async () => {
  const page = await on.open();
  await eventually('the map is painted', async () => (await twinRows(page, 'Heat map as a table')).length === 500);
  const { nodes } = await on.cluster.get('/nodes/index');
  await page.locator('.heat canvas[role="img"]').click({ position: { x: 3, y: 3 } });
  await page.getByRole('complementary', { name: `Node ${nodes[0]}` }).waitFor();
});
