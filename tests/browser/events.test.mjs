// The page Events: text search, kinds in groups, a histogram, and events older than the newest thousand.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 2, flags: ['--no-generator'] });
const log = (page) => page.locator('.vrow');

test('a part of what happened finds its events, and kinds stand in groups', async () => {
  await on.cluster.ask('fault', 'gpu-node-01', 'slow', '--for', '1s');
  const page = await on.open('/events');
  await log(page).filter({ hasText: 'fault began' }).first().waitFor();
  const all = await log(page).count();
  await page.getByLabel('Text').fill('SLOW');
  await eventually('only what has the text is shown', async () => {
    const shown = await log(page).allInnerTexts();
    return shown.length > 0 && shown.length < all && shown.every((text) => /slow/i.test(text));
  });
  assert.match(page.url(), /q=SLOW/);
  assert.ok((await page.locator('select optgroup').count()) >= 4);
  await page.getByRole('img', { name: /^\d+ events? from \d\d:\d\d:\d\d to/ }).waitFor();
  assert.deepEqual(await violations(page), []);
});

test('events older than the newest thousand are a click away', async () => {
  await on.cluster.ask('submit', '--kind', 'sleep', '--duration', '1ms', '--count', '1300', '--wait');
  const page = await on.open('/events');
  await eventually('a thousand and more are known', async () => (await on.cluster.get('/events?limit=1000')).items.length === 1000);
  await page.reload();
  await page.getByRole('button', { name: 'Older' }).click();
  const until = await eventually('the address has the instant', async () => Number(new URL(page.url()).searchParams.get('until')));
  const { items } = await on.cluster.get(`/events?until_ms=${until}&limit=1000`);
  assert.ok(items.every((event) => event.at_ms <= until));
  await eventually('what is shown is not newer', async () => {
    const times = await page.locator('.vrow time').evaluateAll((shown) => shown.map((time) => Date.parse(time.dateTime)));
    return times.length > 3 && times.every((ms) => ms <= until);
  });
  await page.getByRole('button', { name: 'Newest' }).click();
  assert.doesNotMatch(page.url(), /until=/);
});

test('on a phone what happened is on the screen, and nothing to its side', async () => {
  await on.cluster.ask('fault', 'gpu-node-02', 'slow', '--for', '1s');
  const page = await on.open('/events?kind=fault_began', { width: 390, height: 844 });
  const what = log(page).filter({ hasText: 'gpu-node-02' }).first().getByText(/slow/);
  await what.waitFor();
  const { x, width } = await what.boundingBox();
  assert.ok(x >= 0 && x + width <= 390, `it reaches from ${x} to ${x + width}`);
  assert.deepEqual(await violations(page), []);
});
