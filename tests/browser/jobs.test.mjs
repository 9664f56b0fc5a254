// Submitting and cancelling, one and many, what a refused form says, and what a job's page tells.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 3, flags: ['--no-generator'] });

async function submit(page, fields) {
  const form = page.getByRole('form', { name: 'Submit jobs' });
  for (const [label, value] of Object.entries(fields)) await form.getByLabel(label, { exact: true }).fill(value);
  await form.getByRole('button', { name: 'Submit' }).click();
}

test('a submitted job runs, and cancelling it reaches the cluster', async () => {
  const page = await on.open('/jobs?submit=yes');
  await submit(page, { Kind: 'sleep', 'Duration, s': '120', 'Time limit, s': '300', Name: 'browser-one' });
  const row = page.getByRole('row', { name: /browser-one/ });
  await row.getByText('running').waitFor();
  const id = (await row.getByRole('link').first().getAttribute('href')).split('/').pop();
  await row.getByRole('link').first().click();
  await page.getByRole('button', { name: 'Cancel job' }).click();
  await page.locator('.page-head').getByText('cancelled').waitFor();
  assert.equal((await on.cluster.ask('job', id)).state, 'cancelled');
});

test('jobs are sorted by a click on a heading, over all pages, and the address says so', async () => {
  await on.cluster.submit('--kind', 'sleep', '--duration', '10ms', '--gpus', '0.3', '--name', 'third');
  await on.cluster.submit('--kind', 'sleep', '--duration', '10ms', '--gpus', '2', '--name', 'whole');
  const page = await on.open('/jobs');
  const first = page.getByRole('table').locator('tbody tr').first();
  await page.getByRole('button', { name: 'GPUs' }).click();
  await eventually('most GPUs come first', async () => (await first.locator('td').nth(4).innerText()) === '2');
  assert.match(page.url(), /sort=-gpus/);
  assert.equal(await page.getByRole('columnheader', { name: 'GPUs' }).getAttribute('aria-sort'), 'descending');
  await page.getByRole('button', { name: 'Job', exact: true }).click();
  const { items } = await on.cluster.get('/jobs?sort=name&per_page=1');
  await first.getByText(items[0].name).waitFor();
});

test('all that match are cancelled, and no other', async () => {
  const page = await on.open('/jobs?submit=yes');
  await submit(page, { Kind: 'sleep', 'Duration, s': '100', 'Time limit, s': '300', 'How many': '12', Name: 'many' });
  await page.getByText('12 jobs submitted').first().waitFor();
  await submit(page, { Kind: 'sleep', 'Duration, s': '100', 'Time limit, s': '300', 'How many': '1', Name: 'spared' });
  await page.getByText('1 job submitted').first().waitFor();
  await page.getByLabel('Name, id or reason').fill('many');
  const shown = () => page.getByRole('table').locator('tbody tr').count();
  await eventually(`the list shows the twelve`, async () => (await shown()) === 12).catch(async (error) => assert.fail(`${error.message}; it shows ${await shown()} at ${page.url()}`));
  await page.getByRole('button', { name: 'Cancel all that match' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel the jobs' }).click();
  const total = async (query) => (await on.cluster.get(`/jobs?${query}`)).total;
  await eventually('twelve are cancelled', async () => (await total('q=many&state=cancelled')) === 12);
  assert.equal(await total('q=spared&state=queued,running'), 1);
});

test('the form says what is wrong, at the field', async () => {
  // Chromium logs every answer that refuses something.
  const page = await on.open('/jobs?submit=yes', { mayFail: /status of 422/ });
  await submit(page, { Kind: 'sleep', Size: '10' });
  await page.getByRole('alert').filter({ hasText: 'size' }).waitFor();
  assert.equal(await page.getByLabel('Size', { exact: true }).getAttribute('aria-invalid'), 'true');
});

test('a job of an executor elsewhere takes parameters, and says that no executor runs it', async () => {
  const page = await on.open('/jobs?submit=yes');
  await submit(page, { Kind: 'service:nobody', Parameters: 'name=Ada, times=3', Retries: '0', Name: 'elsewhere' });
  const row = page.getByRole('row', { name: /elsewhere/ });
  await row.getByText('given up').first().waitFor();
  const id = (await row.getByRole('link').first().getAttribute('href')).split('/').pop();
  assert.match((await on.cluster.ask('job', id)).reason, /no executor answers exec.nobody/);
  await submit(page, { Kind: 'service:nobody', Parameters: 'Ada' });
  await page.getByRole('alert').filter({ hasText: 'name=value' }).waitFor();
  assert.equal(await page.getByLabel('Parameters', { exact: true }).getAttribute('aria-invalid'), 'true');
});

test('a job that waits says why, and one that runs says why there', async () => {
  const { total } = await on.cluster.get('/nodes');
  const large = [];
  for (let at = 0; at <= total; at++) large.push(await on.cluster.submit('--kind', 'sleep', '--duration', '60s', '--gpus', '8', '--name', 'large'));
  const page = await on.open(`/jobs/${large.at(-1)}`);
  const why = page.locator('section.panel', { has: page.getByRole('heading', { name: 'Why', exact: true }) });
  await why.getByText(/^place \d+ of \d+: /).waitFor();
  await why.getByText(/^\d+ nodes?: GPU share taken/).waitFor();
  for (const id of large) await fetch(`${on.cluster.url}/api/v1/jobs/${id}/cancel`, { method: 'POST' });
  const runs = await on.cluster.submit('--kind', 'sleep', '--duration', '20s', '--name', 'explained');
  await page.goto(`${on.cluster.url}/jobs/${runs}`);
  // The large ones may still be on their way out: then one node has room, and none is second.
  await why.getByText(/^least-loaded: [\d.]+ % free, (best of \d+ of|the only one of) \d+ nodes?/).waitFor();
  await why.getByText(/^(gpu-node-\d+, |none: no other node)/).waitFor();
  const { lines } = await on.cluster.get(`/jobs/${runs}/explain`);
  assert.deepEqual(
    lines.map((line) => line.about),
    ['state', 'why here', 'runner-up', 'waited'],
  );
});

test("a job's page tells its path attempt by attempt, why it ran there, and its messages with subject and headers", async () => {
  const id = await on.cluster.submit('--kind', 'sleep', '--duration', '5s', '--timeout', '60s', '--name', 'requeued');
  const first = await eventually('it runs', async () => (await on.cluster.get(`/jobs/${id}`)).node);
  const page = await on.open(`/jobs/${id}`);
  await page.getByText(/^Chosen because: least-loaded: /).waitFor();
  // Only a heartbeat tells how far it has come, and there is one a second.
  await eventually('its progress is known', async () => (await on.cluster.get(`/jobs/${id}`)).progress_permille > 0);
  // As the button does it, so that the truth of it is in the history.
  assert.equal((await fetch(`${on.cluster.url}/api/v1/nodes/${first}/kill`, { method: 'POST' })).status, 200);
  await page.locator('h1 + .badge', { hasText: 'committed' }).waitFor({ timeout: 45_000 });

  const { attempts } = await on.cluster.get(`/jobs/${id}`);
  assert.ok(attempts.length >= 2 && attempts[0].outcome === 'lost');
  const steps = page.locator('.steps > li');
  const texts = await eventually('each attempt has a row', async () => {
    const all = await steps.allInnerTexts();
    return all.length === attempts.length + 1 ? all : null;
  });
  assert.match(texts[0], /queued/);
  // The wire keeps `lost` for what people read as interrupted.
  const words = ({ outcome }) => (outcome === 'lost' ? 'interrupted' : outcome);
  attempts.forEach((attempt, at) => {
    assert.ok(texts[at + 1].includes(attempt.node) && texts[at + 1].includes(words(attempt)), texts[at + 1]);
    assert.ok(texts[at + 1].includes(`Chosen because: ${attempt.why}`), texts[at + 1]);
  });
  assert.match(texts[1], /requeued, and placed again .* later/);
  assert.match(texts[1], /at \d+ %/, 'how far it had come');
  assert.match(texts[1], /worker-\d+ killed \(SIGKILL\) by the dashboard, noticed after [\d.]+ m?s/);

  const messages = page.locator('tbody tr', { hasText: id });
  const subjects = await messages.locator('code').allInnerTexts();
  for (const subject of [`job.res.${id}`, `job.ev.${id}`]) assert.ok(subjects.includes(subject), `${subject} in ${subjects}`);
  const end = messages.filter({ hasText: `job.res.${id}` });
  await end.getByText('Job-State: committed').waitFor();
  await end.getByText('Faultline-Kind: terminal-record').waitFor();
  await end.locator('summary').click();
  await end.locator('pre', { hasText: '"state": "committed"' }).waitFor();
});
