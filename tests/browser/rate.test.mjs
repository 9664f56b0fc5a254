// The rate slider steers the generator: what it sets is read back from NATS, where the generator reads it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 2, flags: ['--rate', '2'] });
const rateInNats = async () => (await on.cluster.ask('rate', 'get')).jobs_per_minute;

test('moving the slider changes the rate in NATS', async () => {
  const page = await on.open();
  const slider = page.getByRole('slider', { name: /Jobs a minute/ });
  await slider.focus();
  await page.keyboard.press('End');
  await eventually('the rate is 50', async () => (await rateInNats()) === 50);

  const box = await slider.boundingBox();
  await page.mouse.click(box.x + box.width * 0.37, box.y + box.height / 2);
  const low = await eventually('the rate is about 1', async () => {
    const rate = await rateInNats();
    return rate > 0.8 && rate < 1.2 ? rate : null;
  });
  await eventually(
    'the number beside follows',
    async () => Math.abs(Number(await page.getByLabel('Jobs a minute', { exact: true }).inputValue()) - low) < 0.1,
  );
});

test('a preset and a typed number set the rate; nonsense is refused and changes nothing', async () => {
  const page = await on.open();
  await page.getByRole('button', { name: /^High Load/ }).click();
  const { presets } = await on.cluster.get('/rate');
  const high = presets.find((preset) => preset.name === 'High Load').jobs_per_minute;
  await eventually('the rate is that of High Load', async () => (await rateInNats()) === high);
  assert.equal(await page.getByRole('button', { name: /^High Load/ }).getAttribute('aria-pressed'), 'true');

  const field = page.getByLabel('Jobs a minute', { exact: true });
  await field.fill('7.5');
  await field.press('Enter');
  await eventually('the rate is 7.5', async () => (await rateInNats()) === 7.5);

  await field.fill('5000');
  await field.press('Enter');
  await page.getByText('must be a number from 0.1 to 50').waitFor();
  assert.equal(await rateInNats(), 7.5);
});

test('a rate set elsewhere shows on the page', async () => {
  const page = await on.open();
  await on.cluster.ask('rate', 'set', '33');
  await eventually('the page shows 33', async () => (await page.getByLabel('Jobs a minute', { exact: true }).inputValue()) === '33');
});

test('a load is chosen as a share of the cluster, and says what it comes to', async () => {
  const page = await on.open();
  const load = page.getByRole('button', { name: '60 %', exact: true });
  await load.click();
  const view = await eventually('the generator keeps to the load', async () => {
    const said = await on.cluster.ask('rate', 'get');
    return said.in_force_load_percent === 60 && said.in_force_gpus === 16 ? said : null;
  });
  assert.equal(await load.getAttribute('aria-pressed'), 'true');
  await eventually(
    'the page shows the rate that the load comes to',
    async () => Math.abs(Number(await page.getByLabel('Jobs a minute', { exact: true }).inputValue()) - view.in_force_per_minute) <= 1,
  );
  await page.getByText('of 16 GPUs', { exact: true }).waitFor();
});
