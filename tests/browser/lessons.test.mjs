// Lessons: a prediction, something that is really broken, and the answer as the incident of it tells it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { load } from './lib/page.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 3, flags: ['--load', '60'] });

const drawer = (page) => page.getByRole('complementary', { name: 'Lessons' });
const asked = (page) => page.evaluate(() => Object.fromEntries(new URLSearchParams(location.search)));

async function begin(page, title, guess, action) {
  await drawer(page).getByRole('navigation', { name: 'All lessons' }).getByRole('button', { name: title }).click();
  assert.equal(await drawer(page).getByRole('button', { name: action }).count(), 0, 'first one predicts');
  await drawer(page).getByRole('button', { name: guess, exact: true }).click();
  const button = drawer(page).getByRole('button', { name: action });
  await eventually('something runs that can be broken', () => button.isEnabled());
  await button.click();
}

/** The answer on the page, and the incident that it links to as REST tells it. */
async function answer(page) {
  const measured = drawer(page).getByRole('region', { name: 'Measured' }).or(drawer(page).locator('section[aria-label="Measured"]')).first();
  await measured.getByText('Why:').waitFor({ timeout: 45_000 });
  const link = await measured.getByRole('link', { name: 'The incident that says so' }).getAttribute('href');
  return { text: await measured.locator('.measured').innerText(), said: await measured.innerText(), incident: await on.cluster.get(link) };
}

test('the worker of a busy node is killed, and the answer is that of its incident', async () => {
  const { span } = await load('lib/format.ts');
  const page = await on.open();
  await page.getByRole('button', { name: 'Lessons', exact: true }).click();
  await begin(page, /A worker dies/, '10 s and more', /^Kill the worker of gpu-node/);
  const { text, said, incident } = await answer(page);
  assert.match(incident.headline, /^worker-0\d killed \(SIGKILL\) by the dashboard$/);
  assert.equal(text, span(incident.placed_again_after_ms));
  assert.match(said, incident.placed_again_after_ms < 10_000 ? /not what you predicted/ : /as you predicted/);
  assert.ok(incident.interrupted > 0);
  assert.deepEqual(await violations(page), []);

  const { lesson, guess, on: target, learned } = await asked(page);
  assert.deepEqual([lesson, guess, learned], ['worker', '4', 'worker']);
  assert.match(target, /^worker-0\d$/);
  await page.reload();
  assert.equal((await answer(page)).text, text, 'the address has it all');
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Timeline' }).click();
  await drawer(page).getByText('1 of 5 done').waitFor();
  await drawer(page).getByRole('button', { name: /^Next: Frozen/ }).click();
  await drawer(page).getByRole('heading', { name: 'Frozen, or only late?' }).waitFor();
});

test('the threshold of phi is moved, and a node whose heartbeats stop is suspected after what the incident says', async () => {
  const { span } = await load('lib/format.ts');
  const { deviationsOf } = await load('lib/lessons.ts');
  // Of the normal distribution: 1 in 10 lies beyond 1.2816 deviations, 1 in 10^8 beyond 5.6120.
  assert.ok(Math.abs(deviationsOf(1) - 1.2816) < 1e-3 && Math.abs(deviationsOf(8) - 5.612) < 1e-3, `${deviationsOf(1)} ${deviationsOf(8)}`);
  const page = await on.open('/?lesson=frozen');
  const phi = drawer(page).getByRole('region', { name: 'Threshold of phi' });
  assert.match(await phi.innerText(), /A silence of 2\.3 s .* 10⁸ .*two are/s);
  await phi.getByRole('slider').fill('1');
  assert.match(await phi.innerText(), /A silence of 1\.6 s .* 10¹ .*One lost heartbeat is enough/s);
  await begin(page, /Frozen, or only late/, '2 to 10 s', /^Stop the heartbeats of gpu-node/);
  const { text, incident } = await answer(page);
  assert.match(incident.headline, /^heartbeat loss on gpu-node-0\d by the dashboard$/);
  assert.equal(text, span(incident.noticed_after_ms));
});

test('the leader is killed, and who leads then and after what time is that of the incident', async () => {
  const { span } = await load('lib/format.ts');
  const page = await on.open('/?lesson=leader');
  const { leader } = await on.cluster.get('/stats');
  await begin(page, /The leader dies/, '2 to 10 s', 'Kill the leading scheduler');
  const { text, said, incident } = await answer(page);
  assert.deepEqual(incident.targets, [leader]);
  assert.equal(text, span(incident.story.find((step) => step.kind === 'leader').after_ms));
  assert.notEqual(incident.leader, leader);
  assert.ok(said.includes(`${incident.leader} leads now`));
});

test('GPUs of a node break again and again, and the fault detector judges it as often as its incidents say', async () => {
  const page = await on.open('/?lesson=lemon');
  await begin(page, /A lemon/, 'never', /^Break GPUs of gpu-node/);
  const { text, incident } = await answer(page);
  const { items } = await on.cluster.get('/incidents?limit=50');
  const { began, on: node } = await asked(page);
  const ours = items.filter((one) => one.began_ms >= began - 500 && one.headline.endsWith('by the dashboard') && one.targets.includes(node));
  assert.ok(ours.some(({ id }) => id === incident.id));
  const judged = ours.filter((one) => typeof one.noticed_after_ms === 'number').length;
  assert.equal(text, judged === 0 ? 'never' : judged === 1 ? 'once' : `${judged} times`);
});

test('those who want it are notified of an incident while the page is in the background, and a click leads to it', async () => {
  const page = await on.open();
  await page.context().grantPermissions(['notifications'], { origin: on.cluster.url });
  // What the browser would show is kept instead.
  await page.addInitScript(() => {
    window.shown = [];
    window.Notification = class {
      static permission = 'granted';
      static requestPermission = async () => 'granted';
      constructor(title, options) {
        Object.assign(this, { title, ...options });
        window.shown.push(this);
      }
      close() {}
    };
    document.hasFocus = () => window.isWatched ?? false;
  });
  await page.reload();
  await page.locator('.connection[data-link="live"]').waitFor();
  const toggle = page.getByRole('button', { name: /^Notify of incidents/ });
  assert.equal(await toggle.getAttribute('aria-pressed'), 'false', 'nobody is asked unbidden');
  await toggle.click();
  await page.locator('.toast').getByText('New incidents are notified').waitFor();
  await on.cluster.ask('fault', 'gpu-node-02', 'slow', '--for', '2s');
  const shown = await eventually('a notification is shown', async () => (await page.evaluate(() => window.shown.map(({ title, tag }) => ({ title, tag }))))[0]);
  assert.match(shown.title, /slow.* on gpu-node-02|^\d+ incidents$/);
  await page.evaluate(() => window.shown[0].onclick());
  await eventually('it leads to the incident', async () => page.url().includes('/incidents'));
  await page.reload();
  assert.equal(await toggle.getAttribute('aria-pressed'), 'true', 'the browser keeps the choice');
  await page.evaluate(() => (window.isWatched = true));
  await on.cluster.ask('fault', 'gpu-node-03', 'slow', '--for', '2s');
  await eventually('the incident is known', async () => (await on.cluster.get('/incidents?limit=1')).items[0].targets.includes('gpu-node-03'));
  await page.waitForTimeout(5000);
  assert.deepEqual(await page.evaluate(() => window.shown.length), 0, 'those who look at the page are not disturbed');
});
