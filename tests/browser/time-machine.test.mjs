// The time machine: every page shows an instant of before, says so, and takes no orders; a shared address shows the same.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { twinRows } from './lib/browser.mjs';
import { killed } from './lib/killed.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

// Without proxies, which would stand still with `up` when it is stopped.
const on = suite({ workers: 3, flags: ['--rate', '20', '--no-proxy'] });

const bar = (page) => page.getByRole('region', { name: 'Time machine' });
const slider = (page) => bar(page).getByRole('slider', { name: 'Instant on display' });
const isPast = (page) => bar(page).getByText('The past, orders are off').waitFor();
const health = async (page, node) => (await twinRows(page, 'Heat map as a table')).find((row) => row[0] === node)?.[2] ?? 'unknown';
const setSlider = (page, ms) =>
  slider(page).evaluate((input, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }, ms);

test('the state before a kill is shown by every page, marked as past, without orders, and at its address', async () => {
  const page = await on.open('/');
  const { killedMs, deadMs } = await killed(on.cluster);
  await setSlider(page, killedMs - 2000);
  await isPast(page);
  await eventually('the node is alive as it was', async () => (await health(page, 'gpu-node-02')) === 'alive');
  assert.match(await bar(page).innerText(), /\d\d:\d\d:\d\d/);
  assert.ok(await page.locator('#rate-slider').isDisabled(), 'the rate cannot be set in the past');
  await setSlider(page, deadMs);
  await eventually('and dead afterwards', async () => (await health(page, 'gpu-node-02')).startsWith('dead'));
  await setSlider(page, killedMs - 2000);
  await eventually('and alive again before', async () => (await health(page, 'gpu-node-02')) === 'alive');
  await eventually('the address has the instant', async () => Number(new URL(page.url()).searchParams.get('t')) === Number(await slider(page).inputValue()));
  const shared = page.url();

  const findings = [];
  for (const [link, says] of [
    ['Nodes', 'gpu-node-02'],
    ['Jobs', /as they stood at \d\d:/],
    ['Timeline', /attempts? on/],
    ['Chaos', 'Experiments cannot be started in the past'],
    ['Incidents', /as they stood at|Nothing had failed/],
    ['Events', /up to \d\d:/],
    ['System', 'Processes, logs, and the figures of JetStream are not kept'],
  ]) {
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: link, exact: true }).click();
    await page.locator('main').getByText(says).first().waitFor();
    await isPast(page);
    assert.match(page.url(), /[?&]t=\d+/, link);
    findings.push(...(await violations(page)).map((text) => `${link}: ${text}`));
  }
  assert.deepEqual(findings, []);
  assert.equal(await page.getByRole('button', { name: /Submit jobs|Cancel/ }).count(), 0);
  await page.goto(`${shared}&inspect=gpu-node-02`);
  const drawer = page.getByRole('complementary', { name: 'Node gpu-node-02' });
  await drawer.getByText('Orders are for now').waitFor();
  assert.equal(await drawer.locator('header .badge').first().innerText(), 'alive');
  assert.equal(await drawer.getByRole('button', { name: /Kill|Crash|Drain/ }).count(), 0);
  await eventually('no event of later is shown', async () => {
    const times = await drawer.locator('.feed time').evaluateAll((all) => all.map((time) => Date.parse(time.dateTime)));
    return times.length > 0 && times.every((ms) => ms <= killedMs - 1000);
  });

  await page.goto(shared);
  await isPast(page);
  await eventually('a shared address shows the same', async () => (await health(page, 'gpu-node-02')) === 'alive');
  await bar(page).getByRole('button', { name: 'Back to live' }).click();
  await page.locator('.connection[data-link="live"]').waitFor();
  assert.doesNotMatch(page.url(), /[?&]t=/);
  assert.ok(await page.locator('#rate-slider').isEnabled());
});

test('it plays on from an incident, at a chosen speed, and goes live at the end; by keys too', async () => {
  const page = await on.open('/');
  const { items } = await on.cluster.get('/incidents?limit=1');
  await page.keyboard.press(',');
  await isPast(page);
  const at = async () => Number(await slider(page).inputValue());
  await eventually('it stands just before the last incident', async () => Math.abs((await at()) - (items[0].began_ms - 2000)) <= 1000);
  const before = await at();
  await bar(page).getByRole('combobox', { name: 'Speed' }).selectOption('10');
  await page.keyboard.press('p');
  await eventually('ten seconds of before pass in about one', async () => (await at()) > before + 8000, 5000);
  await page.keyboard.press('p');
  assert.equal(await bar(page).getByRole('button', { name: 'Play' }).getAttribute('aria-pressed'), 'false');
  await slider(page).focus();
  const paused = await at();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await at(), paused - 1000);
  await bar(page).getByRole('combobox', { name: 'Speed' }).selectOption('60');
  await bar(page).getByRole('button', { name: 'Play' }).click();
  await page.locator('.connection[data-link="live"]').waitFor({ timeout: 30_000 });
  await eventually('figures come live again', async () => {
    const shown = await page.locator('.tile', { hasText: 'Running' }).locator('.sub').innerText();
    return Number(shown.replace(/\D/g, '')) >= (await on.cluster.get('/stats')).ledger.committed - 5;
  });
  assert.doesNotMatch(page.url(), /[?&]t=/);
});

test('on a phone the slider has a line of its own, and an instant that is not kept is said to be not', async () => {
  const page = await on.open('/?t=1700000000000', { width: 390, height: 844, ready: '.connection[data-link="past"]' });
  await bar(page).getByText(/is not kept: this is the nearest instant that is/).waitFor();
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 1, `${wide} pixels stick out sideways`);
  assert.ok((await slider(page).boundingBox()).width > 300);
  assert.deepEqual(await violations(page), []);
});

test('two instants are compared: before and after a death, what differs is marked, and the figures are those of the service', async () => {
  await eventually('all nodes are alive', async () => (await on.cluster.get('/stats')).nodes_alive === 3, 60_000);
  const { killedMs, deadMs } = await killed(on.cluster);
  const page = await on.open(`/compare?a=${killedMs - 2000}&b=${deadMs}`);
  const row = (panel, name) => page.locator('.panel', { hasText: panel }).getByRole('row', { name });
  const dead = row('Nodes in another state', 'gpu-node-02');
  await dead.waitFor();
  assert.match(await dead.innerText(), /alive\s+dead/);
  assert.match(await dead.locator('mark').first().innerText(), /^dead/);
  const [, up, upThen, difference] = /Nodes up\s+(\d+)\s+(\d+)\s+(\S+)/.exec(await row('Figures', 'Nodes up').innerText());
  assert.deepEqual([up, upThen, difference], ['3', '2', '−1']);
  assert.match(await row('Figures', 'Lost').innerText(), /equal/);
  await page.getByRole('link', { name: /worker-02|gpu-node-02/ }).first().waitFor();
  assert.deepEqual(await violations(page), []);
  const time = page.getByRole('textbox', { name: 'Time of instant B' });
  const before = await time.inputValue();
  await page.getByRole('button', { name: 'Instant B −10 s' }).click();
  await eventually('B is ten seconds earlier', async () => Number(new URL(page.url()).searchParams.get('b')) === deadMs - 10_000);
  assert.notEqual(await time.inputValue(), before);
  await page.getByRole('combobox', { name: 'Instant A by incident' }).selectOption({ index: 1 });
  await eventually('A is before an incident', async () => Number(new URL(page.url()).searchParams.get('a')) !== killedMs - 2000);
});
