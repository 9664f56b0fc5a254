// Charts: the lane of events above them, one stretch of time for all of them and for the timeline, and files of what they show.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { load } from './lib/page.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 3, flags: ['--rate', '30'] });

const asked = (page) => page.evaluate(() => Object.fromEntries(new URLSearchParams(location.search)));
const pressed = (page) => page.getByRole('group', { name: 'Time range' }).locator('[aria-pressed="true"]').allInnerTexts();
const drawn = (page) =>
  eventually('all charts have their width', async () => {
    const boxes = await page.locator('.chart .u-over').evaluateAll((all) => all.map((one) => one.getBoundingClientRect().width));
    return boxes.length === 4 && boxes.every((width) => width > 100);
  });
const saved = async (page, click) => {
  const [download] = await Promise.all([page.waitForEvent('download'), click()]);
  return { name: download.suggestedFilename(), body: readFileSync(await download.path()) };
};

test('labels of time are at round times, none twice, and never so many that they touch', async () => {
  const { ticksOf } = await load('lib/ticks.ts');
  for (const spanS of [1, 7, 20, 60, 61, 119, 300, 420, 900, 1800, 3600])
    for (const width of [120, 300, 390, 800, 1600]) {
      const to = 1_796_146_027.317;
      const { at, withSeconds } = ticksOf(to - spanS, to, width);
      const texts = at.map((tick) => new Date(tick * 1000).toISOString().slice(11, withSeconds ? 19 : 16));
      assert.equal(new Set(texts).size, texts.length, `${spanS} s on ${width} px: ${texts}`);
      assert.ok(at.every((tick) => Number.isInteger(tick) && tick >= to - spanS && tick <= to));
      assert.ok(at.length <= width / (withSeconds ? 74 : 56) + 1, `${spanS} s on ${width} px: ${texts}`);
      if (spanS <= 900 && width >= 300) assert.ok(at.length >= 2 || spanS < 2, `${spanS} s on ${width} px: ${texts}`);
    }
});

test('a stretch of time that is chosen is that of all charts and of the timeline', async () => {
  const page = await on.open();
  await drawn(page);
  await page.getByRole('group', { name: 'Time range' }).getByRole('button', { name: '5 min', exact: true }).click();
  assert.deepEqual([await pressed(page), (await asked(page)).span], [['5 min'], '300000']);
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Jobs' }).click();
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Timeline' }).click();
  assert.deepEqual(await pressed(page), ['5 min'], 'the timeline has it too');
  await page.getByRole('button', { name: '1 min', exact: true }).click();
  await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name: 'Overview' }).click();
  assert.deepEqual(await pressed(page), ['1 min'], 'and the charts have that of the timeline');

  await drawn(page);
  const over = await page.locator('.chart .u-over').nth(1).boundingBox();
  await page.mouse.move(over.x + over.width * 0.25, over.y + 40);
  await page.mouse.down();
  await page.mouse.move(over.x + over.width * 0.75, over.y + 40, { steps: 6 });
  await page.mouse.up();
  const { from, to, span } = await eventually('dragging has chosen a stretch', async () => {
    const now = await asked(page);
    return now.from ? now : null;
  });
  assert.equal(span, undefined);
  assert.ok(Math.abs(to - from - 30_000) < 3000, `half of a minute is ${to - from} ms`);
  assert.deepEqual(await pressed(page), []);
  await page.getByRole('button', { name: 'Follow now' }).click();
  assert.deepEqual(await asked(page), {});
});

test('what happened is in the lane by name, and a click leads to it on the timeline', async () => {
  const page = await on.open();
  await on.cluster.ask('fault', 'gpu-node-02', 'slow', '--for', '3s');
  const lane = page.getByRole('region', { name: 'Events and time range of the charts' });
  const link = lane.getByRole('link', { name: /gpu-node-02 fault/ }).first();
  await link.waitFor();
  assert.match(await link.getAttribute('title'), /^\d\d:\d\d:\d\d .*slow/m);
  const [, from, to] = /from=(\d+)&to=(\d+)/.exec(await link.getAttribute('href'));
  const { items } = await on.cluster.get('/events?kind=fault_began&node=gpu-node-02&limit=1');
  assert.ok(from <= items[0].at_ms && items[0].at_ms <= to, 'the bin holds the fault');
  assert.ok((await link.boundingBox()).width >= 24);
  await link.click();
  await page.getByRole('heading', { name: 'Timeline' }).waitFor();
  assert.match(page.url(), /\/timeline\?from=\d+&to=\d+/);
  assert.deepEqual(await violations(await on.open('/?span=900000')), []);
});

test('pointing at a chart moves nothing', async () => {
  for (const width of [1440, 1024, 390]) {
    const page = await on.open('/?span=60000', { width });
    await drawn(page);
    // The newest incidents grow beside the charts, and below them on narrow screens.
    const tops = () => page.locator('.chart').evaluateAll((all) => all.map((one) => Math.round(one.getBoundingClientRect().top + scrollY)));
    await page.locator('.chart').first().scrollIntoViewIfNeeded();
    const heights = () => page.locator('.chart-head').evaluateAll((all) => all.map((one) => one.offsetHeight));
    const before = [await tops(), await heights()];
    const over = await page.locator('.chart .u-over').first().boundingBox();
    for (const share of [0.6, 0.9]) {
      await page.mouse.move(over.x + over.width * share, over.y + 30);
      await eventually('all charts say which instant', async () => (await page.locator('.chart-head', { hasText: /at \d\d:\d\d:\d\d/ }).count()) === 4);
      assert.deepEqual([await tops(), await heights()], before, `${width} px wide`);
    }
  }
});

test('charts are exported as CSV and as PNG', async () => {
  const page = await on.open('/?span=60000');
  await drawn(page);
  const table = await saved(page, () => page.getByRole('button', { name: 'CSV' }).click());
  assert.match(table.name, /^faultline-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.csv$/);
  const [head, ...rows] = table.body.toString().trimEnd().split('\r\n');
  assert.match(head, /^time,t_ms,arrivals_per_s,completions_per_s,queue,running,/);
  assert.ok(rows.length > 5 && rows.length <= 61, `${rows.length} rows in a minute`);
  const { t_ms: times, running } = await on.cluster.get('/series?window_s=3600');
  const row = rows[3].split(',');
  assert.equal(Number(row[5]), running[times.indexOf(Number(row[1]))], 'the service says the same of that second');
  const picture = await saved(page, () => page.getByRole('button', { name: 'Queue as a PNG picture' }).click());
  assert.match(picture.name, /^faultline-queue-.*\.png$/);
  assert.equal(picture.body.subarray(1, 4).toString(), 'PNG');
  assert.ok(picture.body.length > 2000);
});
