// axe finds nothing serious or critical on any page in either theme, while things break.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { violations } from './lib/axe.mjs';
import { suite } from './lib/suite.mjs';
import { eventually } from './lib/wait.mjs';

const on = suite({ workers: 4, flags: ['--rate', '30'] });
const PAGES = [
  '/',
  '/?heat=state',
  '/nodes',
  '/nodes?view=table',
  '/nodes?inspect=gpu-node-02',
  '/jobs',
  '/jobs?submit=yes',
  '/timeline',
  '/chaos',
  '/events',
  '/compare',
  '/incidents',
  '/system',
  '/system/messaging',
  '/nowhere',
];

for (const theme of ['light', 'dark']) {
  test(`no page has a serious or critical finding in the ${theme} theme`, async () => {
    process.kill(await on.cluster.pid('worker-01'), 'SIGKILL');
    const page = await on.open('/', { theme });
    const job = await on.cluster.submit('--kind', 'sleep', '--duration', '30s');
    await eventually('the job runs', async () => (await on.cluster.get(`/jobs/${job}`)).node);
    const findings = [];
    for (const path of [...PAGES, `/jobs/${job}`]) {
      await page.goto(on.cluster.url + path);
      await page.locator('.connection[data-link="live"]').waitFor();
      await page.locator('h1').waitFor({ state: 'attached' });
      await eventually('nothing is loading', async () => (await page.locator('.skeleton').count()) === 0);
      findings.push(...(await violations(page)).map((text) => `${path}: ${text}`));
    }
    await page.keyboard.press('?');
    findings.push(...(await violations(page)).map((text) => `shortcuts: ${text}`));
    assert.deepEqual(findings, []);
  });
}
