// Filters and settings that outlive a reload, the connection that comes back by itself, and the keyboard.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 2, flags: ['--rate', '20'] });

test('filters live in the address and survive a reload', async () => {
  const page = await on.open('/jobs');
  await page.getByRole('combobox', { name: 'State' }).selectOption('committed');
  await page.getByRole('combobox', { name: 'Priority' }).selectOption('normal');
  await page.getByLabel('more than one attempt').check();
  await page.reload();
  assert.equal(await page.getByRole('combobox', { name: 'State' }).inputValue(), 'committed');
  assert.equal(await page.getByRole('combobox', { name: 'Priority' }).inputValue(), 'normal');
  assert.ok(await page.getByLabel('more than one attempt').isChecked());
  assert.match(page.url(), /state=committed/);

  await page.goto(`${on.cluster.url}/events`);
  await page.getByRole('combobox', { name: 'Level' }).selectOption('warn');
  await page.reload();
  assert.equal(await page.getByRole('combobox', { name: 'Level' }).inputValue(), 'warn');

  await page.goto(on.cluster.url);
  await page.getByRole('button', { name: 'Temperature', exact: true }).click();
  await page.getByRole('button', { name: /^Theme/ }).click();
  await page.reload();
  assert.equal(await page.getByRole('button', { name: 'Temperature', exact: true }).getAttribute('aria-pressed'), 'true');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
});

test('the page says that the service is gone, and goes on by itself when it is back', async () => {
  const page = await on.open();
  const done = async () => Number((await page.locator('.tile', { hasText: 'Running' }).locator('.sub').innerText()).replace(/\D/g, ''));
  process.kill(await on.cluster.pid('dashboard'), 'SIGKILL');
  await page.getByText(/No connection to the dashboard service since/).waitFor();
  await page.locator('.connection[data-link="live"]').waitFor({ timeout: 30_000 });
  assert.equal(await page.getByText(/No connection to the dashboard service/).count(), 0);
  const before = await done();
  await on.cluster.ask('submit', '--kind', 'sleep', '--duration', '100ms', '--count', '5', '--wait');
  await eventually('the page counts jobs that ended after the restart', async () => (await done()) >= before + 5);
});

test('pause holds the display still, and going on catches up', async () => {
  const page = await on.open();
  await page.getByRole('button', { name: 'Pause the display' }).click();
  await page.getByText('The display is paused').waitFor();
  const tiles = () => page.locator('.tiles').innerText();
  const before = await tiles();
  const { ledger } = await on.cluster.get('/stats');
  await on.cluster.ask('submit', '--kind', 'sleep', '--duration', '100ms', '--count', '3', '--wait');
  await eventually('the cluster has done more', async () => (await on.cluster.get('/stats')).ledger.committed >= ledger.committed + 3);
  assert.equal(await tiles(), before);
  await page.getByRole('button', { name: 'Go on' }).click();
  await eventually('the display has caught up', async () => (await tiles()) !== before);
});

test('the keyboard reaches search, shortcuts and pages', async () => {
  const page = await on.open();
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  await page.keyboard.type('node-02');
  await page.getByRole('option', { name: /gpu-node-02/ }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('complementary', { name: 'Node gpu-node-02' }).waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await page.getByRole('complementary', { name: /^Node/ }).count(), 0);
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('g');
  await page.keyboard.press('e');
  await page.getByRole('heading', { name: 'Events' }).waitFor();
});

test('what can be done is typed into the search field: pages, the display, and orders to a node', async () => {
  const page = await on.open();
  const type = async (text, option) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type(text);
    await page.getByRole('option', { name: option }).waitFor();
    await page.keyboard.press('Enter');
  };
  await type('go to inc', 'Go to Incidents');
  await page.getByRole('heading', { name: 'Incidents' }).waitFor();
  await type('theme: li', 'Theme: light');
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'light');
  await type('drain node-02', 'Drain gpu-node-02');
  await page.locator('.toast').getByText('drain of gpu-node-02 is in force').waitFor();
  assert.equal((await on.cluster.get('/nodes/gpu-node-02')).draining, true);
  await type('undrain node-02', 'Undrain gpu-node-02');
  await page.locator('.toast').getByText('undrain of gpu-node-02 is in force').waitFor();
  assert.equal((await on.cluster.get('/nodes/gpu-node-02')).draining, false);
});

test('an event leads to its instant on the timeline', async () => {
  const page = await on.open('/events');
  await page.locator('.vrow a[href^="/timeline"]').first().click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  assert.match(page.url(), /\/timeline\?at=\d+/);
});

test('the timeline is zoomed by dragging, moved by keys, follows now again, and shows only affected nodes', async () => {
  await on.cluster.ask('fault', 'gpu-node-01', 'crash', '--for', '2s');
  const page = await on.open('/timeline');
  const canvas = page.locator('.timeline canvas');
  const follows = () => page.getByRole('button', { name: 'Follow now' }).getAttribute('aria-pressed');
  assert.equal(await follows(), 'true');
  // It is drawn first, and given its width when the page has measured how much there is.
  const box = await eventually('the timeline has its width', async () => {
    const found = await canvas.boundingBox();
    return found?.width > 400 ? found : null;
  });
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 40, { steps: 5 });
  await page.mouse.up();
  // As the page itself knows it: what `page.url()` gives is heard a moment later.
  const window = () =>
    page.evaluate(() => ['from', 'to'].map((name) => Number(new URLSearchParams(location.search).get(name))));
  const [from, to] = await window();
  // Two minutes are shown at first, beside the names of the nodes.
  assert.ok(to - from > 20_000 && to - from < 60_000, `${to - from} ms`);
  assert.equal(await follows(), 'false');
  await page.locator('.timeline').focus();
  await page.keyboard.press('ArrowLeft');
  assert.ok((await window())[0] < from);
  await page.reload();
  assert.ok((await window())[0] < from, 'the window is in the address');
  await page.getByRole('button', { name: 'Follow now' }).click();
  assert.equal(await follows(), 'true');
  await page.getByLabel('only affected nodes').check();
  // The other one may have been late too, where the machine is slow.
  await eventually('the broken node has a row, and no node that nothing happened to', async () => {
    const { nodes } = await on.cluster.get('/timeline?affected=true');
    return nodes.includes('gpu-node-01') && (await canvas.getAttribute('aria-label')).includes(`on ${nodes.length} nodes`);
  });
  assert.match(page.url(), /affected=true/);
});

test('narrow screens get one column on every page, and see which one it is', async () => {
  const page = await on.open('/', { width: 390, height: 800 });
  for (const path of ['/', '/nodes', '/nodes?inspect=gpu-node-01', '/jobs', '/timeline', '/compare', '/chaos', '/incidents', '/events', '/system', '/system/messaging']) {
    await page.goto(on.cluster.url + path);
    await page.locator('.connection[data-link="live"]').waitFor();
    await eventually('nothing is loading', async () => (await page.locator('.skeleton').count()) === 0);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 1, `${path}: ${wide} pixels stick out sideways`);
    if (path === '/compare') continue;
    const tab = await page.locator('.tabs [aria-current]').boundingBox();
    assert.ok(tab.x >= 0 && tab.x + tab.width <= 390, `${path}: its tab is at ${tab.x}`);
  }
});

test('nothing moves by itself for those who want it so', async () => {
  const page = await on.open('/jobs');
  await page.emulateMedia({ reducedMotion: 'reduce' });
  const animation = await page.evaluate(() => {
    const probe = document.body.appendChild(document.createElement('div'));
    probe.className = 'skeleton';
    const { animationName } = getComputedStyle(probe);
    probe.remove();
    return animationName;
  });
  assert.equal(animation, 'none');
});
