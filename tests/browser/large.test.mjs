// Ten thousand nodes at two frames a second: frames stay small and the page stays fluent.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { twinRows } from './lib/browser.mjs';
import { Mock } from './lib/mock.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const NODES = 10_000;
const MOST_BYTES = 64 * 1024;
const LEAST_FPS = 30;
const MEASURED_MS = 6000;
const on = suite(null);
let mock;
before(async () => {
  mock = await Mock.start(NODES);
});
after(() => mock?.stop());

/** Frames a second that the page draws, and the longest pause between two. */
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

test('frames are at most 64 KiB and the page stays above 30 frames a second', async (t) => {
  const page = await on.open(mock.url);
  const sizes = { text: 0, binary: 0, many: 0 };
  page.on('websocket', (socket) =>
    socket.on('framereceived', ({ payload }) => {
      sizes.many += 1;
      if (typeof payload === 'string') sizes.text = Math.max(sizes.text, payload.length);
      else sizes.binary = Math.max(sizes.binary, payload.length);
    }),
  );
  await page.reload();
  await page.getByText(`${NODES.toLocaleString('en')} nodes in`).waitFor();
  for (const path of ['/', '/?heat=temperature', '/nodes', '/timeline']) {
    await page.goto(mock.url + path);
    await page.locator('.connection[data-link="live"]').waitFor();
    await eventually('it is loaded', async () => (await page.locator('.skeleton').count()) === 0);
    const { fps, longest } = await fluency(page);
    t.diagnostic(`${path}: ${fps.toFixed(0)} frames a second, longest pause ${longest.toFixed(0)} ms`);
    assert.ok(fps >= LEAST_FPS, `${path}: ${fps.toFixed(1)} frames a second`);
  }
  t.diagnostic(`largest frames: text ${sizes.text} bytes, binary ${sizes.binary} bytes, of ${sizes.many}`);
  assert.ok(sizes.many > 10 && sizes.binary === 16 + 5 * NODES);
  assert.ok(Math.max(sizes.text, sizes.binary) <= MOST_BYTES);
});

test('the table of ten thousand nodes holds only the visible rows', async () => {
  const page = await on.open(`${mock.url}/nodes`);
  const list = page.getByRole('list', { name: 'Nodes' });
  await list.getByText('gpu-node-00001').waitFor();
  await list.evaluate((element) => {
    element.scrollTop = element.scrollHeight;
  });
  await list.getByText('gpu-node-10000').waitFor();
  assert.ok((await list.getByRole('listitem').count()) < 80);
});

test('a click on a cell opens its node', async () => {
  const page = await on.open(mock.url);
  await eventually('the map is painted', async () => (await twinRows(page, 'Heat map as a table')).length === 500);
  await page.locator('.heat canvas').click({ position: { x: 4, y: 22 } });
  await page.getByRole('complementary', { name: 'Node gpu-node-00001' }).waitFor();
});
