// `faultline demo`: its captions, the arcs of the jobs that move, and the key that kills.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Browser } from './lib/browser.mjs';
import { FAULTLINE } from './lib/cluster.mjs';
import { eventually } from './lib/wait.mjs';

const folder = mkdtempSync(join(tmpdir(), 'faultline-browser.'));
let said = '';
let demo;
let browser;

before(async () => {
  demo = spawn(FAULTLINE, ['demo', '--no-browser', '--nodes', '16', '--scene', '6s'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1' },
  });
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (text) => (said += text));
  demo.over = new Promise((resolve) => {
    demo.on('exit', resolve);
  });
  browser = await Browser.start();
});
after(async () => {
  await browser?.stop();
  demo.kill('SIGINT');
  await demo.over;
  rmSync(folder, { recursive: true, force: true });
});

const painted = (page) =>
  page.locator('.heat canvas.arcs').evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 3; at < data.length; at += 4) if (data[at] > 100) found += 1;
    return found;
  });

test('a rack dies: the caption says so, arcs fly, and the counts are those of the incidents', async () => {
  const url = await eventually('the demo has a page', () => said.match(/open in a browser: (\S+)/)?.[1], 60_000);
  const page = await browser.page(url);
  const caption = page.getByRole('region', { name: 'Demo' });
  await caption.getByRole('heading', { name: /rack-\d+ dies/ }).waitFor();
  await eventually('an arc is on its way', async () => (await painted(page)) > 200);
  // The service counts what the command, asked beside it, counts too.
  await eventually('the jobs have moved', async () => /^([1-9]\d*) of \1 jobs? moved/.test(await caption.locator('.tally').innerText()));
  await eventually('the arcs are over', async () => (await painted(page)) === 0);

  await caption.getByRole('heading', { name: 'The leading scheduler dies' }).waitFor({ timeout: 60_000 });
  await caption.getByRole('heading', { name: 'Your turn: press K' }).waitFor({ timeout: 90_000 });
  await page.keyboard.press('k');
  await page.locator('.toast', { hasText: /worker-\d+ was killed: \d+ jobs? ran there/ }).waitFor();

  await caption.getByRole('button', { name: 'Hide' }).click();
  await caption.waitFor({ state: 'detached' });
  assert.deepEqual(page.complaints, [], 'the page complained');
});

test('it ends with the books checked', async () => {
  demo.kill('SIGINT');
  assert.equal(await demo.over, 0, said);
  assert.match(said, /audit: every job is accounted for, 0 lost, 0 ended twice/);
});
