// A recording: one file that shows the page without a service and without a network.

import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { twinRows } from './lib/browser.mjs';
import { killed } from './lib/killed.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const TOKEN = 'a-token-that-must-not-be-in-any-file';

// Without proxies, which would stand still with `up` when it is stopped.
const on = suite({ workers: 3, flags: ['--rate', '20', '--no-proxy'], token: TOKEN });

const bar = (page) => page.getByRole('region', { name: 'Time machine' });
const slider = (page) => bar(page).getByRole('slider', { name: 'Instant on display' });
const health = async (page) => (await twinRows(page, 'Heat map as a table')).find((row) => row[0] === 'gpu-node-02')?.[2] ?? 'unknown';

test('a recording opens with the network off and shows the state before and after a kill', async () => {
  const { killedMs, deadMs } = await killed(on.cluster);
  const file = join(on.cluster.folder, 'incident.html');
  await on.cluster.ask('record', '--last', '2m', '--out', file, '--dashboard', on.cluster.url, '--token-file', join(on.cluster.folder, 'token'));
  assert.ok(statSync(file).size < 3_000_000, `${statSync(file).size} bytes`);
  assert.ok(!readFileSync(file, 'utf8').includes(TOKEN));
  // The file is all that there is.
  const page = await on.browser.page('about:blank', { ready: 'html' });
  on.pages.push(page);
  await page.context().setOffline(true);
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await page.goto(`file://${file}`);
  await bar(page).getByText(/^Recording of \d{4}-\d\d-\d\d$/).waitFor();
  // It begins just before the last incident.
  await eventually('the node is alive before the kill', async () => (await health(page)) === 'alive');
  assert.ok(Number(await slider(page).inputValue()) < killedMs);
  await slider(page).evaluate((input, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }, deadMs);
  await eventually('and dead after it', async () => (await health(page)).startsWith('dead'));

  const findings = [];
  for (const [link, says] of [
    ['Nodes', 'gpu-node-02'],
    ['Jobs', /as they stood at \d\d:/],
    ['Timeline', /attempts? on/],
    ['Incidents', /worker-02|gpu-node-02/],
    ['Events', /up to \d\d:/],
    ['System', 'Processes, logs, and the figures of JetStream are not kept'],
    ['Overview', 'Jobs lost'],
  ]) {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: link, exact: true }).click();
    await page.locator('main').getByText(says).first().waitFor();
    findings.push(...(await violations(page)).map((text) => `${link}: ${text}`));
  }
  assert.deepEqual(findings, []);
  assert.match(page.url(), /#\/\?t=\d+$/, 'places and instants are in the address of the file');
  assert.equal(await bar(page).getByRole('button', { name: 'Back to live' }).count(), 0);
  assert.ok(await page.locator('#rate-slider').isDisabled());
  await page.reload();
  await eventually('the instant outlives a reload', async () => Math.abs(Number(await slider(page).inputValue()) - deadMs) <= 1000);
  assert.deepEqual(
    asked.filter((url) => !url.startsWith('file:') && !url.startsWith('data:')),
    [],
    'nothing is asked of any network',
  );
});

test('what cannot be recorded is said with what to do, and an exit code', async () => {
  const failed = async (...args) => {
    const error = await on.cluster.ask('record', ...args).then(() => assert.fail('it went well'), (raised) => raised);
    return [error.code, error.stderr.trim()];
  };
  const token = ['--token-file', join(on.cluster.folder, 'token')];
  for (const [args, code, says] of [
    [['--last', '2h'], 2, /--last is out of range: the dashboard keeps an hour; give 1s to 60m$/],
    [['--dashboard', on.cluster.url], 1, /a token is needed; name the file that holds the token with --token-file$/],
    [['--dashboard', 'http://127.0.0.1:1', ...token], 1, /cannot be reached: .*; start it with `faultline up`, or name another with --dashboard URL$/],
    [['--dashboard', on.cluster.url, ...token, '--out', '/no/such/folder/x.html'], 2, /writing .* failed: .*; name another file with --out$/],
  ]) {
    const [ended, said] = await failed(...args);
    assert.deepEqual([ended, says.test(said)], [code, true], said);
  }
});
