// What a person sees when a worker is killed: the hole, the verdict, the requeue and the finished job.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { twinRows } from './lib/browser.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

// Without proxies, which would stand still with `up` when it is stopped.
const on = suite({ workers: 3, flags: ['--no-generator', '--no-proxy'] });

async function submitAndWait(kind, ...flags) {
  const job = await on.cluster.submit('--kind', kind, ...flags);
  const node = await eventually('the job runs', async () => (await on.cluster.get(`/jobs/${job}`)).node);
  return { job, node };
}

/** How many pixels of the canvas have about this colour. */
const pixelsLike = (page, selector, property) =>
  page.locator(selector).evaluate((canvas, name) => {
    const probe = document.createElement('canvas').getContext('2d');
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    probe.fillRect(0, 0, 1, 1);
    const [red, green, blue] = probe.getImageData(0, 0, 1, 1).data;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
      if (Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 24 && data[at + 3] > 200) found += 1;
    }
    return found;
  }, property);

test('a killed worker shows on the timeline, is announced, and the job ends elsewhere', async () => {
  const { job, node } = await submitAndWait('sleep', '--duration', '6s', '--timeout', '60s');
  const page = await on.open('/timeline?span=40000');
  await eventually('the running attempt is in the table', async () =>
    (await twinRows(page, 'Timeline as a table')).some((row) => row[2] === node && row[4] === 'running'),
  );
  assert.equal(await pixelsLike(page, '.timeline canvas', '--cell-dead-back'), 0, 'no hole before');

  const pid = await on.cluster.pid(`worker-${node.slice(-2)}`);
  // `up` starts a killed worker again at once, perhaps before it was missed, and the job may then end where it began.
  on.cluster.process.kill('SIGSTOP');
  let all = [];
  let rows;
  try {
    process.kill(pid, 'SIGKILL');
    rows = await eventually(
      'the attempt is interrupted, the node is gone and the next attempt is done',
      async () => {
        all = await twinRows(page, 'Timeline as a table');
        const lost = all.find((row) => row[2] === node && row[4] === 'interrupted');
        const verdict = all.find((row) => row[2] === node && (row[4] === 'gone' || row[4] === 'dead') && row[5].includes('fault detector'));
        const done = all.find((row) => row[2] !== node && row[4] === 'committed');
        return lost && verdict && done ? { lost, done } : null;
      },
      45_000,
    );
  } catch (error) {
    throw new Error(`${error.message}; the table has ${JSON.stringify(all)}`);
  } finally {
    on.cluster.process.kill('SIGCONT');
  }
  assert.match(rows.lost[5], new RegExp(`^on ${rows.done[2]}, .* later$`), 'the interrupted attempt points to the next one');
  await page
    .locator('[aria-live=polite]', { hasText: new RegExp(`${node} (is (gone|dead)|has recovered)`) })
    .waitFor({ state: 'attached' });

  const { verdicts } = await on.cluster.get('/timeline');
  const { at_ms: noticed } = verdicts.find((verdict) => verdict.node === node && verdict.health !== 'alive');
  await page.goto(`${on.cluster.url}/timeline?from=${noticed - 500}&to=${noticed + 1500}`);
  await eventually('the hole is drawn', async () => (await pixelsLike(page, '.timeline canvas', '--cell-dead-back')) > 50);

  const told = await on.cluster.ask('job', job);
  assert.equal(told.state, 'committed');
  await page.goto(`${on.cluster.url}/jobs/${job}`);
  await page.getByRole('button', { name: node }).waitFor();
  await page.getByText(/requeued, and placed again/).waitFor();
  assert.equal(await page.locator('.steps .badge', { hasText: 'committed' }).count(), 1);
});

test('the heat map and its table know a node that is down', async () => {
  const page = await on.open('/?heat=state');
  await eventually(
    'all nodes are alive again',
    async () => (await twinRows(page, 'Heat map as a table')).every((row) => row[2] === 'alive'),
    45_000,
  );
  assert.equal(await pixelsLike(page, '.heat canvas[role="img"]', '--cell-hatch'), 0);
  process.kill(await on.cluster.pid('worker-01'), 'SIGSTOP');
  const pid = await on.cluster.pid('worker-01');
  try {
    await eventually(
      'the frozen node is dead',
      async () => (await twinRows(page, 'Heat map as a table')).some((row) => row[0] === 'gpu-node-01' && row[2].startsWith('dead')),
      45_000,
    );
    assert.ok((await pixelsLike(page, '.heat canvas[role="img"]', '--cell-hatch')) > 20, 'dead is hatched');
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await eventually(
    'it has recovered',
    async () => (await twinRows(page, 'Heat map as a table')).every((row) => row[2].startsWith('alive')),
    45_000,
  );
});

test('a killed worker is one card: by whom, noticed how, where the jobs went, and none lost', async () => {
  await on.cluster.ask('submit', '--kind', 'sleep', '--duration', '6s', '--timeout', '60s', '--count', '9', '--gpus', '0.5');
  const { node } = await submitAndWait('sleep', '--duration', '6s', '--timeout', '60s');
  const page = await on.open('/');
  const worker = `worker-${node.slice(-2)}`;
  await on.cluster.ask('kill', worker);
  const card = page.locator('.incident', { hasText: `${worker} killed` }).first();
  await card.getByText(/, 0 lost$/).waitFor({ timeout: 30_000 });
  const headline = await card.locator('.what').innerText();
  assert.match(headline, new RegExp(`^${worker} killed \\(SIGKILL\\) by .faultline kill., user `));
  await card.getByText(/ placed again: \d+ to gpu-node-/).waitFor();
  // The strip says the same on every page.
  const strip = page.getByRole('region', { name: 'Jobs and the last incident' });
  await strip.getByText(headline).waitFor();
  await strip.getByText(/recovered after/).waitFor({ timeout: 30_000 });
  await eventually('every job of it has ended', async () => /: \d+ committed, 0 lost$/.test(await card.locator('.balance').innerText()), 40_000);
  const [incident] = (await on.cluster.get('/incidents?limit=1')).items;
  assert.equal(await card.locator('.balance').innerText(), `${incident.interrupted} jobs moved: ${incident.committed} committed, 0 lost`);
  await card.locator('.what').click();
  await page.getByRole('heading', { name: 'Incident', exact: true }).waitFor();
  assert.ok(page.url().endsWith(`/incidents/${incident.id}`), page.url());
  assert.equal((await on.cluster.get('/stats')).jobs_lost ?? 0, 0);
});
