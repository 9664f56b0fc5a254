// What the page says when there is nothing yet, when something cannot be had, and when what it shows is old.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

// Without proxies, which would stand still with `up` when it is stopped.
const on = suite({ workers: 1, flags: ['--no-generator', '--no-proxy'] });

const REFUSAL = 'no scheduler leads at the moment';
const refuse = (route) =>
  route.fulfill({ status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'no_leader', message: REFUSAL } }) });

test('what cannot be loaded is said on every page with its reason, and trying again shows it', async () => {
  const page = await on.open('/', { mayFail: /503/ });
  for (const path of ['/', '/nodes', '/jobs', '/timeline', '/chaos', '/events', '/messaging', '/nodes?inspect=gpu-node-01']) {
    await page.route('**/api/v1/**', refuse);
    await page.goto(on.cluster.url + path);
    const failure = page.getByRole('alert').filter({ hasText: REFUSAL }).last();
    await failure.waitFor();
    assert.match(await failure.innerText(), /cannot be/, path);
    assert.equal(await page.getByText(/No node has been heard of|Nothing has failed|No job yet/).count(), 0, `${path} claims what it does not know`);
    await page.unroute('**/api/v1/**');
    await failure.getByRole('button', { name: 'Try again' }).click({ timeout: 2000 }).catch(() => {});
    await eventually(`${path} shows what it could not`, async () => (await page.getByRole('alert').filter({ hasText: REFUSAL }).count()) === 0);
  }
});

test('before anything has come the pages are drawn empty and claim nothing', async () => {
  const page = await on.open();
  let letGo;
  const held = new Promise((resolve) => {
    letGo = resolve;
  });
  await page.route('**/api/v1/**', async (route) => {
    await held;
    await route.continue();
  });
  for (const path of ['/', '/nodes', '/jobs', '/timeline', '/events', '/messaging']) {
    await page.goto(on.cluster.url + path, { waitUntil: 'commit' });
    await page.locator('.skeleton').first().waitFor();
    assert.equal(await page.getByText(/No node has been heard of|Nothing has failed|No job yet/).count(), 0, path);
  }
  letGo();
  await eventually('nothing is loading any more', async () => (await page.locator('.skeleton').count()) === 0);
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test('without NATS the page says that its figures are old, and goes on by itself', async () => {
  const page = await on.open();
  const pid = await on.cluster.pid('nats');
  // `up` would start the server again at once.
  on.cluster.process.kill('SIGSTOP');
  try {
    // With its whole group: the process that `up` started watches over the server.
    process.kill(-pid, 'SIGKILL');
    await page.getByText('no connection to NATS').waitFor();
  } finally {
    on.cluster.process.kill('SIGCONT');
  }
  await eventually('the notice is gone', async () => (await page.getByText('no connection to NATS').count()) === 0);
});
