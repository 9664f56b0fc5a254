// A dashboard that wants a token: the form, what a wrong token says, what the right one opens, and signing out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const TOKEN = 'a-token-for-the-browser-tests';
const on = suite({ workers: 1, flags: ['--no-generator'], token: TOKEN });
// Chromium logs every answer that refuses something.
const refusals = /status of 401/;

test('without the token nothing is told, a wrong one is refused, and the right one opens the page', async () => {
  assert.equal((await fetch(`${on.cluster.url}/api/v1/stats`)).status, 401);
  const page = await on.open('/jobs?state=queued', { ready: '.sign-in', mayFail: refusals });
  assert.deepEqual(await violations(page), []);
  assert.equal(await page.getByRole('navigation').count(), 0, 'the form and nothing else');
  const [field, button] = [page.getByLabel('Token'), page.getByRole('button', { name: 'Sign in' })];
  await field.fill('a-token-that-is-wrong');
  await button.click();
  await page.getByRole('alert').filter({ hasText: 'this is not the token' }).waitFor();
  assert.equal(await field.getAttribute('aria-invalid'), 'true');

  await field.fill(TOKEN);
  await field.press('Enter');
  await page.locator('.connection[data-link="live"]').waitFor();
  assert.match(page.url(), /\/jobs\?state=queued$/, 'where one wanted to go');
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.value.includes(TOKEN)], [true, 'Strict', false]);
  assert.equal(await page.evaluate(() => document.cookie), '', 'no script can read it');

  // What the page knows from now on came over the WebSocket.
  await page.goto(on.cluster.url);
  const running = page.locator('.tile', { hasText: 'Running' }).locator('dd').first();
  await on.cluster.submit('--kind', 'sleep', '--duration', '60s', '--timeout', '90s', '--name', 'behind-the-door');
  await eventually('the page shows the running job', async () => (await running.innerText()).trim() === '1');
  await page.goto(`${on.cluster.url}/jobs`);
  await page.getByRole('link', { name: 'behind-the-door' }).click();
  await page.getByRole('button', { name: 'Cancel job' }).click();
  await eventually('a change reaches the cluster', async () => (await on.cluster.get('/jobs?state=cancelled')).total === 1);
});

test('signing out ends the session, also of pages that are open', async () => {
  const page = await on.open('/', { ready: '.sign-in', mayFail: refusals });
  await page.getByLabel('Token').fill(TOKEN);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('.connection[data-link="live"]').waitFor();
  const other = await page.context().newPage();
  await other.goto(`${on.cluster.url}/nodes`);
  await other.locator('.connection[data-link="live"]').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.locator('.sign-in').waitFor();
  await other.locator('.sign-in').waitFor();
  await page.reload();
  await page.locator('.sign-in').waitFor();
});
