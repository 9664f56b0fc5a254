// The page System: processes as `up` runs them, their health and their logs, and what is said where no `up` answers; and the link to a trace.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

process.env.FAULTLINE_DASHBOARD_TRACE_URL = 'http://127.0.0.1:16686/trace/{trace_id}';
const on = suite({ workers: 2, flags: ['--rate', '20'] });

const row = (page, process) => page.locator('.panel', { hasText: 'What it does' }).getByRole('row', { name: process });
const lines = (page) => page.getByRole('region', { name: 'Lines of the logs' }).locator('tbody tr');

test('every process has a row with its health, and a killed and a frozen one are seen', async () => {
  const page = await on.open('/system');
  const { services } = await on.cluster.ask('status');
  for (const { name, pid } of services) assert.match(await row(page, name).innerText(), new RegExp(`\\b${pid}\\b`), name);
  await eventually('the leader says so', async () => /scheduler-\d\s+ready\s+leads, epoch \d+/.test(await page.locator('.panel').first().innerText()));

  process.kill(await on.cluster.pid('worker-02'), 'SIGKILL');
  await eventually('its death and its restart are told', async () => /ready\s.*\s1\s+ended with signal: 9/s.test(await row(page, 'worker-02').innerText()));
  const frozen = await on.cluster.pid('worker-01');
  process.kill(frozen, 'SIGSTOP');
  try {
    await row(page, 'worker-01').getByText('no answer within 500 ms').waitFor();
    assert.match(await row(page, 'worker-01').innerText(), /not ready/);
  } finally {
    process.kill(frozen, 'SIGCONT');
  }
  await eventually('it is ready again', async () => /\sready/.test(await row(page, 'worker-01').innerText()));
});

test('logs are chosen by process and level, and the choice is in the address', async () => {
  await on.cluster.ask('fault', 'gpu-node-01', 'slow', '--for', '1s');
  const page = await on.open('/system');
  await eventually('lines are shown', async () => (await lines(page).count()) > 5);
  await page.getByRole('combobox', { name: 'Process' }).selectOption('worker-01');
  await page.getByRole('combobox', { name: 'Level' }).selectOption('error');
  await eventually('only that is shown', async () => {
    const shown = await lines(page).allInnerTexts();
    return shown.length > 0 && shown.every((text) => /error\s+worker-01\s/.test(text));
  });
  assert.match((await lines(page).allInnerTexts()).join('\n'), /fault began .*slow/);
  const { lines: said } = await on.cluster.get('/processes?process=worker-01&level=error&lines=200');
  assert.ok(said.length > 0 && said.every((line) => line.process === 'worker-01' && (line.level ?? 'error') === 'error'));
  await page.reload();
  assert.equal(await page.getByRole('combobox', { name: 'Level' }).inputValue(), 'error');
  assert.deepEqual(await violations(page), []);
});

test('where no up answers the page says so, and where logs are then', async () => {
  const page = await on.open('/', { mayFail: /501/ });
  await page.route('**/api/v1/processes*', (route) =>
    route.fulfill({ status: 501, contentType: 'application/json', body: JSON.stringify({ error: { code: 'no_experiments', message: 'none' } }) }),
  );
  await page.goto(`${on.cluster.url}/system`);
  await page.getByText('No faultline up runs these processes').waitFor();
  await page.getByText(/docker logs NAME/).waitFor();
  await page.getByRole('navigation', { name: 'Parts of the system' }).getByRole('link', { name: 'Messaging' }).click();
  await page.getByRole('heading', { name: /RESULTS/ }).waitFor();
});

test('the page of a job links to its trace where a viewer is set', async () => {
  const job = await on.cluster.submit('--kind', 'sleep', '--duration', '100ms');
  const page = await on.open(`/jobs/${job}`);
  const link = page.getByRole('link', { name: 'Trace', exact: true });
  assert.match(await link.getAttribute('href'), /^http:\/\/127\.0\.0\.1:16686\/trace\/[0-9a-f]{32}$/);
  assert.equal(await link.getAttribute('rel'), 'noreferrer');
});
