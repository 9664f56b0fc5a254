// Every page in both themes, on a desk and on a phone, from a live cluster in which things break. Run by scripts/screenshots.sh, which names the folder.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Browser } from './lib/browser.mjs';
import { Cluster } from './lib/cluster.mjs';
import { eventually } from './lib/wait.mjs';

const [folder] = process.argv.slice(2);
const SETTLE_MS = 1500;
/** How long the cluster works before the first picture, so that charts and timeline have something to show. */
const WARM_MS = 90_000;

const sleep = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

async function makeHistory(cluster) {
  await cluster.ask('submit', '--kind', 'sleep', '--duration', '14s', '--timeout', '90s', '--gpus', '0.4', '--count', '14');
  await cluster.ask('submit', '--kind', 'fault', '--param', 'fail_odds=0.6', '--duration', '3s', '--count', '6');
  await sleep(WARM_MS / 2);
  await cluster.ask(
    'submit',
    '--kind',
    'sleep',
    '--duration',
    '25s',
    '--timeout',
    '90s',
    '--gpus',
    '0.5',
    '--count',
    '18',
    '--priority',
    'high',
  );
  await cluster.ask('fault', 'gpu-node-06', 'heartbeat-loss', '--for', '14s');
  await Promise.all([experiment(cluster), sleep(WARM_MS / 2)]);
}

/** What the page about experiments shows afterwards. */
async function experiment(cluster) {
  const claims = 'lost=0,duplicates=0,detection_p99<5s,recovery_p99<10s';
  const order = { kind: 'kill-busy-worker', for_ms: 6000, before_ms: 4000, after_ms: 20_000, hypothesis: claims };
  const answer = await fetch(`${cluster.url}/api/v1/chaos/run`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(order),
  });
  if (!answer.ok) throw new Error(`no experiment began: ${answer.status} ${await answer.text()}`);
  await eventually('the experiment has ended', async () => (await cluster.get('/chaos')).runs.length > 0, 60_000);
}

/** A worker that runs something is killed, so that the pictures show a hole and what became of its jobs. */
async function breakSomething(cluster) {
  await cluster.ask(
    'submit',
    '--kind',
    'matrix',
    '--size',
    '256',
    '--duration',
    '20s',
    '--timeout',
    '90s',
    '--gpus',
    '0.5',
    '--count',
    '10',
    '--priority',
    'urgent',
  );
  const busy = await eventually('a node is busy', async () =>
    (await cluster.get('/nodes?sort=-running&per_page=1')).items.find((node) => node.running.length > 0),
  );
  await cluster.ask('kill', busy.worker);
  await cluster.ask('fault', busy.node === 'gpu-node-03' ? 'gpu-node-04' : 'gpu-node-03', 'crash', '--for', '40s');
  await sleep(3500);
  const { items } = await cluster.get('/jobs?attempts_min=2&per_page=50');
  return items.find((job) => job.attempts.some((attempt) => attempt.outcome === 'lost')) ?? items[0];
}

const cluster = await Cluster.start({ workers: 8, faults: 'classroom', flags: ['--rate', '50', '--seed', '7'] });
const browser = await Browser.start();
try {
  mkdirSync(folder, { recursive: true });
  await makeHistory(cluster);
  for (const theme of ['light', 'dark']) {
    const killedMs = Date.now();
    const job = await breakSomething(cluster);
    const pages = {
      overview: '/',
      timeline: '/timeline?span=150000',
      compare: `/compare?a=${killedMs - 2000}&b=${Date.now() - 1500}`,
      lesson: '/?lesson=worker&guess=2',
      nodes: '/nodes',
      node: '/nodes?inspect=gpu-node-02',
      jobs: '/jobs',
      job: `/jobs/${job.id}`,
      chaos: '/chaos',
      events: '/events?level=info',
      incidents: '/incidents',
      system: '/system',
      messaging: '/system/messaging',
    };
    const page = await browser.page(cluster.url, { theme });
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(cluster.url + path);
      await page.locator('.connection[data-link="live"]').waitFor();
      await sleep(SETTLE_MS);
      await page.screenshot({ path: join(folder, `${name}-${theme}.png`) });
    }
    await page.context().close();
    const phone = await browser.page(cluster.url, { theme, width: 390, height: 844 });
    for (const [name, path] of Object.entries({ overview: '/', timeline: '/timeline?span=60000', events: '/events?level=info', incidents: '/incidents' })) {
      await phone.goto(cluster.url + path);
      await phone.locator('.connection[data-link="live"]').waitFor();
      await sleep(SETTLE_MS);
      await phone.screenshot({ path: join(folder, `phone-${name}-${theme}.png`) });
    }
    await phone.context().close();
  }
} finally {
  await browser.stop();
  await cluster.stop();
}
