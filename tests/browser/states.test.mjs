// What the page says when there is nothing yet, when something cannot be had, and when what it shows is old.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

// Without proxies, which would stand still with `up` when it is stopped.
const on = suite({ workers: 1, flags: ['--no-generator', '--no-proxy'] });

const REFUSAL = 'no scheduler leads at the moment';
const refuse = (route) =>
  route.fulfill({ status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'no_leader', message: REFUSAL } }) });

/** What only an answer over REST can tell; the overview's incidents are pushed. */
const UNKNOWN = /No node has registered yet|Nothing has failed in the last hour|No job yet/;

test('what cannot be loaded is said on every page with its reason, and trying again shows it', async () => {
  const page = await on.open('/', { mayFail: /503/ });
  for (const path of ['/', '/nodes', '/jobs', '/timeline', '/chaos', '/incidents', '/events', '/system', '/system/messaging', '/nodes?inspect=gpu-node-01']) {
    await page.route('**/api/v1/**', refuse);
    await page.goto(on.cluster.url + path);
    const failure = page.getByRole('alert').filter({ hasText: REFUSAL }).last();
    await failure.waitFor();
    assert.match(await failure.innerText(), /cannot be/, path);
    assert.equal(await page.getByText(UNKNOWN).count(), 0, `${path} claims what it does not know`);
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
  for (const path of ['/', '/nodes', '/jobs', '/timeline', '/incidents', '/events', '/system', '/system/messaging']) {
    await page.goto(on.cluster.url + path, { waitUntil: 'commit' });
    await page.locator('.skeleton').first().waitFor();
    assert.equal(await page.getByText(UNKNOWN).count(), 0, path);
  }
  letGo();
  await eventually('nothing is loading any more', async () => (await page.locator('.skeleton').count()) === 0);
  await page.unrouteAll({ behavior: 'ignoreErrors' });
});

test('the page says which zone its times are in, and what its words mean', async () => {
  const page = await on.open();
  await page.getByText(/^Times are local: UTC/).waitFor();
  await page.getByRole('button', { name: 'Glossary' }).click();
  const dialog = page.getByRole('dialog', { name: 'Glossary' });
  await dialog.getByText('The time from the start of a fault to that placement').waitFor();
  assert.deepEqual(await violations(page), []);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await dialog.waitFor({ state: 'detached' });
});

const banner = (page) => page.locator('.banner', { hasText: 'NATS has not answered' });

test('a frozen NATS is named, with the time of its silence and what follows, and not the scheduler that cannot be asked', async () => {
  const page = await on.open();
  const pid = await on.cluster.pid('nats');
  // With its whole group: the process that `up` started watches over the server.
  process.kill(-pid, 'SIGSTOP');
  try {
    await banner(page).waitFor();
    assert.match(await banner(page).innerText(), /for \d+(\.\d)? s/);
    assert.match(await banner(page).innerText(), /running jobs continue, nothing is placed or committed until NATS answers/);
    assert.equal(await page.getByText(/scheduler .*has not answered/).count(), 0);
    assert.equal((await (await fetch(`${on.cluster.url}/healthz`)).json()).nats_connected, false);
  } finally {
    process.kill(-pid, 'SIGCONT');
  }
  await eventually('the notice is gone', async () => (await banner(page).count()) === 0);
});

test('without NATS the page says that its figures are old, and goes on by itself', async () => {
  const page = await on.open();
  const pid = await on.cluster.pid('nats');
  // `up` would start the server again at once.
  on.cluster.process.kill('SIGSTOP');
  try {
    // With its whole group: the process that `up` started watches over the server.
    process.kill(-pid, 'SIGKILL');
    await banner(page).waitFor();
  } finally {
    on.cluster.process.kill('SIGCONT');
  }
  await eventually('the notice is gone', async () => (await banner(page).count()) === 0);
});
