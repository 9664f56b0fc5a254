// What the page and the dashboard's service cost over time: the heap of a tab that stays open, and CPU and memory of the process that serves it.
// Run by scripts/measure-page.sh; prints a line a minute, and at the end the first and the last of them as JSON.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Browser } from './lib/browser.mjs';
import { Cluster } from './lib/cluster.mjs';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '15' },
    workers: { type: 'string', default: '8' },
    'nodes-per-worker': { type: 'string', default: '1' },
    faults: { type: 'string', default: 'classroom' },
    path: { type: 'string', default: '/' },
  },
});
const minutes = Number(values.minutes);
const [workers, nodes] = [Number(values.workers), Number(values['nodes-per-worker'])];
/** Linux counts CPU time in this many ticks a second, on every machine that Node runs on. */
const TICKS_PER_S = 100;

const sleep = (ms) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

/** CPU seconds since its start, and resident memory, of a process. */
function costOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
  return { cpu_s: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S, rss_mib: kib / 1024 };
}

async function heapOf(devtools) {
  await devtools.send('HeapProfiler.collectGarbage');
  const { metrics } = await devtools.send('Performance.getMetrics');
  const of = (name) => metrics.find((metric) => metric.name === name).value;
  return { heap_mb: of('JSHeapUsedSize') / 1e6, dom_nodes: of('Nodes'), listeners: of('JSEventListeners') };
}

const round = (value) => Math.round(value * 100) / 100;

const cluster = await Cluster.start({ workers, nodes, faults: values.faults });
const browser = await Browser.start();
try {
  const page = await browser.page(cluster.url + values.path);
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable');
  const pid = await cluster.pid('dashboard');
  let [before, beganMs] = [costOf(pid), performance.now()];
  const rows = [];
  for (let minute = 0; minute <= minutes; minute += 1) {
    if (minute > 0) await sleep(60_000);
    const [cost, nowMs] = [costOf(pid), performance.now()];
    const cpu_percent = minute > 0 ? (100 * (cost.cpu_s - before.cpu_s)) / ((nowMs - beganMs) / 1000) : null;
    [before, beganMs] = [cost, nowMs];
    const kept = await cluster.get('/past');
    const row = { minute, ...(await heapOf(devtools)), cpu_percent, rss_mib: cost.rss_mib, past_mb: kept.bytes / 1e6 };
    rows.push(Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? null : round(value)])));
    console.log(Object.entries(rows.at(-1)).map(([name, value]) => `${name} ${value}`).join('  '));
  }
  console.log(JSON.stringify({ nodes: workers * nodes, page: values.path, first: rows[0], last: rows.at(-1), complaints: page.complaints }));
} finally {
  await browser.stop();
  await cluster.stop();
}
