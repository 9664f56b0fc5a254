// `npm run mock -- [--nodes 8] [--port 8090]`: serves the built page and a made-up cluster behind the service's API, for work on the page.

import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';
import { HEALTH, MockCluster } from './cluster.mjs';

const { values } = parseArgs({ options: { nodes: { type: 'string', default: '8' }, port: { type: 'string', default: '8090' } } });
const cluster = new MockCluster(Number(values.nodes));
const dist = new URL('../dist/', import.meta.url).pathname;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
const CSP = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
const byRest = cluster.nodes.length > 512;

for (let at = Date.now() - (byRest ? 30_000 : 240_000); at < Date.now(); at += 500) cluster.step(at);
cluster.fresh = [];

const row = (node) => ({
  node: node.node,
  worker: node.worker,
  rack: node.rack,
  model: node.model,
  gpus: node.gpus,
  gpu_memory_mib: node.gpu_memory_mib,
  health: HEALTH[node.health],
  draining: node.draining,
  incarnation: node.incarnation,
  phi: node.phi,
  running: node.running.length,
  fault: node.fault ?? undefined,
  fail_percent_per_min: 7.5,
  running_jobs: node.running.slice(0, 4).map((job) => ({ job: job.id, progress_permille: job.progress_permille })),
  heartbeat_age_ms: node.health ? Date.now() - node.downSince : 400,
});

const detail = (node) => ({
  node: node.node,
  worker: node.worker,
  incarnation: node.incarnation,
  gpus: Array(node.gpus).fill({ model: node.model, memory_mib: node.gpu_memory_mib }),
  rack: node.rack,
  slots: 8,
  kinds: ['matrix'],
  fault_percent_per_min: 7.5,
  telemetry_source: 'simulated',
  health: HEALTH[node.health],
  draining: node.draining,
  gpu_used_milli: [250, 0],
  gpu_reserved_mib: [0, 0],
  heartbeat_age_ms: 400,
  running: node.running.map((job) => ({ attempt: job.attempts.at(-1).attempt, job: job.id, progress_permille: job.progress_permille })),
  telemetry: Array.from({ length: node.gpus }, () => ({
    utilisation_percent: node.use,
    memory_used_mib: node.use * 600,
    memory_total_mib: 81_920,
    temperature_c: node.heat,
    power_w: 80 + node.use * 5,
    throttled: false,
    xid: 0,
  })),
  verdict: {
    health: HEALTH[node.health],
    detector: 'phi',
    phi: node.phi,
    silence_ms: 0,
    evidence: 'heartbeats arrive',
    at_ms: Date.now() - 60_000,
  },
});

function stats() {
  const point = cluster.points.at(-1);
  const health = (at) => cluster.nodes.filter((node) => node.health === at).length;
  const { totals } = cluster;
  const lastMinute = totals.commits.filter((at) => at > Date.now() - 60_000).length;
  return {
    leader: 'scheduler-1',
    epoch: 3,
    leader_since_ms: 0,
    policy: 'best-fit',
    nodes_alive: health(0),
    nodes_suspect: health(1),
    nodes_gone: health(2),
    nodes_dead: health(3),
    nodes_draining: 0,
    gpus_total: cluster.nodes.length * 2,
    gpu_used_milli: point.running * 250,
    queued_in_stream: point.queue,
    queued_held: 0,
    running: point.running,
    placed_total: 0,
    requeued_total: totals.requeued,
    retried_total: totals.retried,
    ledger: { submitted: totals.submitted, committed: totals.committed, dead: 0, cancelled: 0, abandoned: 0, duplicates: 0, missed: 0 },
    nats_connected: true,
    committed_last_minute: lastMinute,
    submitted_last_minute: totals.arrivals.length,
    oldest_queued_age_ms: point.queue ? 2100 : null,
    gpu_utilisation_percent: point.gpu_utilisation_percent,
    gpu_allocated_percent: point.gpu_allocated_percent,
    detection_p50_ms: 420,
    detection_p95_ms: 1900,
    recovery_p50_ms: 2600,
    recovery_p95_ms: 5300,
    jobs_ended_twice: 0,
    jobs_lost: 0,
    attempts_repeated: totals.requeued + totals.retried,
  };
}

const PRESETS = [
  ['Light Load', 1],
  ['Normal', 5],
  ['High Load', 15],
  ['Extreme', 30],
  ['MAXIMUM', 50],
].map(([name, jobs_per_minute]) => ({ name, jobs_per_minute }));
const rate = () => ({
  jobs_per_minute: cluster.rate,
  preset: PRESETS.find((preset) => preset.jobs_per_minute === cluster.rate)?.name ?? null,
  set_by: '',
  at_ms: 0,
  min_per_minute: 0.1,
  max_per_minute: 50,
  presets: PRESETS,
});
const brief = (job) => ({
  ...job,
  path: job.attempts.map(({ node, outcome }) => ({ node, outcome })),
  note: job.waiting?.summary ?? '',
  attempts: undefined,
  bar: undefined,
});
const newestJobs = () => [...cluster.jobs.values()].reverse();
const KINDS = {
  'kill-busy-worker': 'worker',
  'kill-percent': 'worker',
  partition: 'service',
  'kill-service': 'service',
  'gpu-error': 'node',
  freeze: 'service',
};
const PHASE = { samples: 9, jobs_running: 7.2, jobs_queued: 1.4, nodes_known: 8, committed: 12, throughput_per_s: 0.6 };
const chaos = {
  available: true,
  kinds: Object.entries(KINDS).map(([kind, target]) => ({ kind, target, does: `a made-up ${kind}`, default_for_ms: 5000, takes: [] })),
  running: null,
  runs: [
    {
      run: '01MOCK',
      request: { kind: 'kill-busy-worker', hypothesis: 'lost=0,recovery_p95<10s' },
      outcome: 'passed',
      reason: '',
      started_at_ms: Date.now() - 90_000,
      ended_at_ms: Date.now() - 60_000,
      targets: ['worker-03'],
      whole_after_ms: 2400,
      phases: ['before', 'during', 'after'].map((phase, at) => ({
        ...PHASE,
        phase,
        from_ms: at * 5000,
        to_ms: at * 5000 + 5000,
        nodes_alive_min: phase === 'during' ? 7 : 8,
      })),
      measured: {
        lost: 0,
        duplicates: 0,
        attempts_lost: 2,
        unrecovered: 0,
        false_verdicts: 0,
        detection: { count: 1, p50_ms: 430, p95_ms: 430, p99_ms: 430, max_ms: 430 },
        recovery: null,
        failover: null,
      },
      clauses: [
        { clause: 'lost=0', passed: true, measured: '0' },
        { clause: 'recovery_p95<10s', passed: true, measured: '2.61 s' },
      ],
    },
  ],
};

function index() {
  const racks = [];
  cluster.nodes.forEach((node, at) => {
    if (racks.at(-1)?.[0] === node.rack) racks.at(-1)[2] += 1;
    else racks.push([node.rack, at, 1]);
  });
  return { revision: cluster.revision, nodes: cluster.nodes.map((node) => node.node), racks };
}

function series() {
  const rows = cluster.points.slice(-900);
  const columns = Object.fromEntries(Object.keys(rows[0]).map((key) => [key, rows.map((point) => point[key])]));
  return {
    ...columns,
    markers: cluster.verdicts
      .filter((verdict) => verdict.health !== 'gone')
      .map((verdict) => ({
        t_ms: verdict.at_ms,
        kind: verdict.health === 'alive' ? 'node_recovered' : 'node_dead',
        node: verdict.node,
        detail: '',
      })),
  };
}

function timeline(query) {
  const [from, to] = [Number(query.get('from_ms')), Number(query.get('to_ms'))];
  const bars = cluster.bars.filter((bar) => bar.start_ms < to && (bar.end_ms ?? to) > from);
  const faults = cluster.faults.filter((fault) => fault.from_ms < to && fault.until_ms > from);
  const affected = new Set([
    ...faults.map((fault) => fault.node),
    ...bars.filter((bar) => bar.outcome === 'lost' || bar.outcome === 'failed').map((bar) => bar.node),
  ]);
  const nodes = cluster.nodes
    .map((node) => node.node)
    .filter((name) => query.get('affected') !== 'true' || affected.has(name))
    .slice(0, 500);
  const shown = new Set(nodes);
  return {
    from_ms: from,
    to_ms: to,
    nodes,
    bars: bars.filter((bar) => shown.has(bar.node)).slice(-5000),
    faults: faults.filter((fault) => shown.has(fault.node)),
    verdicts: cluster.verdicts.filter((verdict) => verdict.at_ms < to && shown.has(verdict.node)),
    truncated: false,
  };
}

function jobsPage(query) {
  const states = (query.get('state') ?? '').split(',').filter(Boolean);
  const text = (query.get('q') ?? '').toLowerCase();
  const found = newestJobs()
    .map((job) => ({ ...job, bar: undefined }))
    .filter(
      (job) =>
        (!states.length || states.includes(job.state)) &&
        (!query.get('kind') || job.kind === query.get('kind')) &&
        (!query.get('priority') || job.priority === query.get('priority')) &&
        (!query.get('node') || job.attempts.some((attempt) => attempt.node === query.get('node'))) &&
        job.attempts.length >= Number(query.get('attempts_min') ?? 0) &&
        (!text || `${job.name} ${job.id}`.toLowerCase().includes(text)),
    );
  const [page, size] = [Number(query.get('page') ?? 1), Number(query.get('per_page') ?? 50)];
  return { items: found.slice((page - 1) * size, page * size), total: found.length, page, per_page: size };
}

const LEVELS = ['debug', 'info', 'warn', 'error'];
function eventsPage(query) {
  const wanted = (event) =>
    (!query.get('level') || LEVELS.indexOf(event.level) >= LEVELS.indexOf(query.get('level'))) &&
    ['node', 'service', 'kind', 'job'].every((key) => !query.get(key) || event[key] === query.get(key));
  const limit = Number(query.get('limit') ?? 50);
  const after = Number(query.get('after') ?? 0);
  const found = cluster.events.filter((event) => event.seq > after && wanted(event));
  const items = after ? found.slice(0, limit) : found.slice(-limit);
  return { items, next_after: items.at(-1)?.seq ?? after };
}

const message = (job) => [
  {
    stream: 'JOBS',
    subject: `job.q.${job.priority}.${job.kind}.${job.id}`,
    seq: 812,
    at_ms: job.submitted_at_ms,
    headers: { 'Faultline-Kind': 'queued-job', 'Faultline-Version': '1', 'Nats-Msg-Id': job.id },
    body: { name: job.name, kind: job.kind },
  },
  {
    stream: 'RESULTS',
    subject: `job.res.${job.id}`,
    seq: 1631,
    at_ms: job.ended_at_ms ?? job.submitted_at_ms,
    headers: { 'Job-State': job.ended_at_ms ? job.state : 'open' },
    body: { result: job.result },
  },
];
const messaging = () => ({
  streams: ['JOBS', 'RESULTS', 'EVENTS', 'DEAD', 'ADVISORY'].map((name, at) => ({
    name,
    messages: 40 * at + 12,
    bytes: 91_000 * (at + 1),
    first_seq: 1,
    last_seq: 400 * at + 12,
    command: `nats stream info ${name}`,
    consumers:
      name === 'JOBS'
        ? ['urgent', 'high', 'normal', 'low'].map((priority) => ({
            name: `sched-${priority}`,
            pending: 2,
            ack_pending: 7,
            redelivered: at,
            waiting: 1,
          }))
        : [],
  })),
  buckets: ['LEASE', 'NODES', 'HEALTH', 'CONTROL', 'LEDGER'].map((name) => ({ name, values: 4, bytes: 900 })),
  connections: 14,
});

const history = () => {
  const times = Array.from({ length: 300 }, (_, at) => Date.now() - (300 - at) * 2000);
  const wave = (low, high) => times.map((t, at) => low + ((Math.sin(t / 30_000 + low) + 1) / 2) * (high - low) + (at % 7));
  return {
    t_ms: times,
    gpus: [0, 1].map((gpu) => ({
      utilisation: wave(gpu * 10, 80),
      memory_percent: wave(5, 50),
      temperature_c: wave(35, 71),
      power_w: wave(80, 420),
    })),
  };
};

function orders(path, body, now) {
  const parts = path.split('/').slice(1);
  if (path === '/rate') {
    cluster.rate = body.jobs_per_minute;
    return rate();
  }
  if (path === '/jobs') {
    const ids = Array.from({ length: body.count ?? 1 }, () => cluster.submit(now, body.kind, body.priority).id);
    return { submitted: ids.length, ids };
  }
  if (path === '/jobs/cancel') {
    const open = [...cluster.jobs.values()].filter((job) => !job.ended_at_ms);
    open.forEach((job) => cancel(job, now));
    return { cancelled: open.length };
  }
  if (parts[0] === 'jobs' && parts[2] === 'cancel') return cancel(cluster.jobs.get(parts[1]), now);
  const node = cluster.get(decodeURIComponent(parts[1] ?? ''));
  if (parts[0] === 'nodes' && node) {
    if (parts[2] === 'kill') cluster.kill(node, now);
    else if (parts[2] === 'fault') cluster.kill(node, now, body.kind);
    else if (parts[2] === 'restore') cluster.restore(node, now);
    else node.draining = parts[2] === 'drain';
    return { node: node.node, draining: node.draining };
  }
  return null;
}

function cancel(job, now) {
  if (job.state === 'running') cluster.end(job, now, 'cancelled');
  return Object.assign(job, { state: 'cancelled', ended_at_ms: now, reason: 'cancelled by dashboard' });
}

function answers(path, query) {
  const parts = path.split('/').slice(1);
  switch (path) {
    case '/nodes/index':
      return index();
    case '/nodes':
      return { items: cluster.nodes.slice(0, 200).map(detail), total: cluster.nodes.length };
    case '/jobs':
      return jobsPage(query);
    case '/events':
      return eventsPage(query);
    case '/series':
      return series();
    case '/stats':
      return stats();
    case '/timeline':
      return timeline(query);
    case '/messaging':
      return messaging();
    case '/chaos':
      return chaos;
    default:
      break;
  }
  if (parts[0] === 'jobs' && cluster.jobs.has(parts[1]))
    return { ...cluster.jobs.get(parts[1]), bar: undefined, source: 'scheduler', messages: message(cluster.jobs.get(parts[1])) };
  const node = parts[0] === 'nodes' && cluster.get(decodeURIComponent(parts[1] ?? ''));
  if (node) return parts[2] === 'history' ? history() : detail(node);
  return null;
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://mock');
  if (url.pathname.startsWith('/api/v1/')) {
    let text = '';
    for await (const chunk of request) text += chunk;
    const path = url.pathname.slice('/api/v1'.length);
    const answer = request.method === 'GET' ? answers(path, url.searchParams) : orders(path, text ? JSON.parse(text) : {}, Date.now());
    response.writeHead(answer ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer ?? { error: { code: 'not_found', message: `there is nothing at ${url.pathname}` } }));
    return;
  }
  const file = extname(url.pathname) ? normalize(url.pathname) : '/index.html';
  try {
    const body = readFileSync(join(dist, file));
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', 'content-security-policy': CSP });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});

const sockets = new WebSocketServer({ server, path: '/api/v1/ws' });
let seq = 100;
sockets.on('connection', (socket) => {
  const state = {
    stats: stats(),
    rate: rate(),
    series_s: 3600,
    racks: [],
    nodes: byRest ? [] : cluster.nodes.map(row),
    nodes_by_rest: byRest,
    node_index: cluster.revision,
    jobs: newestJobs().slice(0, 50).map(brief),
    chaos: { available: true, running: null, runs_ended: 1 },
    events: cluster.events.slice(-40),
  };
  socket.send(JSON.stringify({ type: 'hello', seq, at_ms: Date.now(), state }));
});

function frameOf() {
  const buffer = Buffer.alloc(16 + 5 * cluster.nodes.length);
  buffer.writeUInt8(1, 0);
  buffer.writeUInt32LE(seq, 4);
  buffer.writeUInt32LE(cluster.revision, 8);
  buffer.writeUInt32LE(cluster.nodes.length, 12);
  cluster.nodes.forEach((node, at) => {
    const state = node.health | (node.draining ? 8 : 0) | (node.fault ? 32 : 0) | (node.health ? 64 : 0);
    buffer.set(
      [
        Math.round(node.use * 2),
        Math.round(Math.min(100, node.running.length * 22 + 4) * 2),
        Math.round(node.heat),
        state,
        node.running.length,
      ],
      16 + at * 5,
    );
  });
  return buffer;
}

setInterval(() => {
  const now = Date.now();
  cluster.step(now);
  seq += 1;
  const events = cluster.fresh.splice(0).slice(-40);
  const delta = {
    type: 'delta',
    seq,
    at_ms: now,
    stats: stats(),
    rate: rate(),
    jobs: { changed: newestJobs().slice(0, 30).map(brief), removed: [] },
    events,
    point: cluster.points.at(-1),
  };
  if (!byRest) delta.nodes = { changed: cluster.nodes.map(row), removed: [] };
  const [text, frame] = [JSON.stringify(delta), frameOf()];
  for (const socket of sockets.clients) {
    socket.send(text);
    socket.send(frame);
  }
}, 500);

server.listen(Number(values.port), '127.0.0.1', () =>
  console.log(`mock of ${cluster.nodes.length} nodes at http://127.0.0.1:${server.address().port}/`),
);
