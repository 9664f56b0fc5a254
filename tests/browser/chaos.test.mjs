// Breaking things by button: experiments with a hypothesis, aborting one, and what a node's drawer can do to it.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { suite } from './lib/suite.mjs';
import { complaintsAbout } from './lib/trace.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 4, flags: ['--no-generator'] });

const report = (page) => page.locator('details.run').first();
const outcome = (page) => report(page).locator('summary .badge');
const step = (page, name) => page.locator('[aria-current=step]', { hasText: name });

/** The figures of the report's table, by row: before, during, after. */
const figures = async (page) =>
  Object.fromEntries(
    await report(page)
      .locator('.phases tbody tr')
      .evaluateAll((rows) => rows.map((row) => [row.cells[0].innerText, [...row.cells].slice(1).map((cell) => cell.innerText)])),
  );

test('a busy worker is killed by button: countdown, before, during and after, and a hypothesis that holds', async () => {
  await on.cluster.ask('submit', '--kind', 'sleep', '--duration', '8s', '--timeout', '60s', '--count', '24');
  const page = await on.open('/chaos');
  await page.getByRole('button', { name: /^Kill a busy worker/ }).click();
  const hypothesis = page.getByLabel(/^Hypothesis/);
  assert.match(await hypothesis.inputValue(), /lost=0/);
  await hypothesis.fill('lost=0,duplicates=0,recovery_p95<30s');
  await page.getByRole('button', { name: 'Kill a busy worker now' }).click();

  const left = async () => Number.parseFloat(await page.getByRole('timer').innerText());
  await step(page, 'before').waitFor();
  const first = await left();
  await eventually('the countdown runs', async () => (await left()) < first);
  await step(page, 'during').waitFor();
  assert.match(await page.locator('.figures').innerText(), /Nodes up/i);
  await outcome(page).getByText('passed').waitFor({ timeout: 60_000 });

  assert.deepEqual(await report(page).locator('code').allInnerTexts(), ['lost=0', 'duplicates=0', 'recovery_p95<30s']);
  const { 'Fewest nodes up': nodes, Lasted: lasted } = await figures(page);
  assert.deepEqual([nodes[0], nodes[1]], ['4 of 4', '3 of 4']);
  assert.ok(
    lasted.every((text) => /^\d/.test(text)),
    `each phase has a length: ${lasted}`,
  );
  await report(page).getByRole('link', { name: 'Show it on the timeline' }).click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  await page.locator('.timeline canvas').waitFor();
});

test('an experiment is aborted, and everything is put right', async () => {
  const page = await on.open('/chaos');
  await page.getByRole('button', { name: /^Partition for 10 s/ }).click();
  await page.getByRole('button', { name: 'Partition for 10 s now' }).click();
  await step(page, 'during').waitFor();
  await page.getByRole('button', { name: 'Abort and restore' }).click();
  await outcome(page).getByText('aborted').waitFor();
  await report(page).getByText('everything was repaired').waitFor();
  await eventually('no link is broken any more', async () => {
    const { nodes_alive: alive } = await on.cluster.get('/stats');
    return alive === 4;
  });
});

test('an experiment that others began is shown too, and its hypothesis that does not hold fails', async () => {
  const page = await on.open('/chaos');
  const order = { kind: 'slow', for_ms: 1000, hypothesis: 'detection_p95<1ms' };
  const answer = await fetch(`${on.cluster.url}/api/v1/chaos/run`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order),
  });
  assert.equal(answer.status, 202);
  await page.getByRole('timer').waitFor();
  await outcome(page).getByText('failed').waitFor({ timeout: 60_000 });
  await report(page).getByText(/measured/).first().waitFor();
});

test('the buttons of a node reach it', async () => {
  const page = await on.open('/nodes?inspect=gpu-node-02');
  const drawer = page.getByRole('complementary', { name: 'Node gpu-node-02' });
  const press = (name) => drawer.getByRole('button', { name, exact: true }).click();
  const badge = (text) => drawer.locator('header .badge', { hasText: text });
  const node = () => on.cluster.get('/nodes/gpu-node-02');
  await press('Drain');
  await badge('draining').waitFor();
  assert.equal((await node()).draining, true);
  await press('Undrain');
  await badge('draining').waitFor({ state: 'detached' });
  await press('Slow');
  await badge('slow').waitFor();
  assert.equal((await node()).fault.kind, 'slow');
  await press('Restore');
  await badge('slow').waitFor({ state: 'detached' });
  await press('Freeze heartbeats');
  await badge('suspect').waitFor();
  await press('Restore');
  await badge('alive').waitFor();
});

test('a node is crashed, and its process killed after a question, each told as it happened', async () => {
  const page = await on.open('/nodes?inspect=gpu-node-02');
  const drawer = page.getByRole('complementary', { name: 'Node gpu-node-02' });
  const toast = (text) => page.locator('.toast', { hasText: text }).waitFor();
  const node = () => on.cluster.get('/nodes/gpu-node-02');
  await drawer.getByRole('button', { name: 'Crash this node' }).click();
  await toast(/gpu-node-02: crash for 10 s, .*ordered by the dashboard/);
  await drawer.getByRole('button', { name: 'Restore', exact: true }).click();
  await eventually('it is back', async () => (await node()).health === 'alive');

  const { incarnation } = await node();
  const pid = await on.cluster.pid('worker-02');
  await drawer.getByRole('button', { name: 'Kill the process worker-02' }).click();
  const question = page.getByRole('dialog', { name: 'Kill the process worker-02?' });
  assert.match(await question.innerText(), /It hosts 1 node\. (\d+ running jobs? on it would be interrupted and placed elsewhere|No job runs there now)\./);
  await question.getByRole('button', { name: 'Keep it' }).click();
  assert.equal(await on.cluster.pid('worker-02'), pid, 'nothing happens without a yes');
  await drawer.getByRole('button', { name: 'Kill the process worker-02' }).click();
  await question.getByRole('button', { name: 'Kill worker-02' }).click();
  await toast(new RegExp(`worker-02 \\(process ${pid}\\) ended .* after SIGKILL; it runs again as process \\d+ after`));
  assert.notEqual(await on.cluster.pid('worker-02'), pid);
  await eventually('it lives its next life', async () => {
    const now = await node();
    return now.incarnation > incarnation && now.health === 'alive';
  });
  const { items } = await on.cluster.get('/events?kind=fault_ended');
  assert.ok(items.some(({ detail }) => detail.startsWith('worker-02 killed (SIGKILL) by the dashboard; back after ')));
});

test('what all that left behind is exported as a trace that keeps the rules of the format', async (t) => {
  const { started_at_ms: began } = (await on.cluster.get('/chaos')).runs.at(-1);
  const page = await on.open(`/timeline?from=${began - 10_000}&to=${Date.now()}`);
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export trace' }).click()]);
  assert.equal(download.suggestedFilename(), 'faultline-trace.json');
  const trace = JSON.parse(readFileSync(await download.path(), 'utf8'));
  assert.deepEqual(complaintsAbout(trace, [began - 10_000, Date.now()]), []);
  const count = (wanted) => trace.traceEvents.filter(wanted).length;
  const attempts = count((event) => event.ph === 'X' && event.cat === 'attempt');
  const faults = count((event) => event.ph === 'X' && event.cat === 'fault');
  const arrows = count((event) => event.ph === 's');
  t.diagnostic(`${attempts} attempts, ${faults} faults, ${arrows} arrows`);
  assert.ok(attempts >= 24 && faults >= 4 && arrows >= 1);
});
