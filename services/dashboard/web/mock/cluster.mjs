// A made-up cluster for working on the page without one: nodes heat up, die and come back, jobs are placed, lost and tried again.
// It follows the wire format of the service and nothing else of it: no NATS, no rules of the scheduler.

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const HEALTH = ['alive', 'suspect', 'gone', 'dead'];
const KINDS = ['matrix', 'compute', 'sleep', 'fault'];
const PRIORITIES = ['urgent', 'high', 'normal', 'low'];
const KEEP_MS = 900_000;

const pick = (list) => list[Math.floor(Math.random() * list.length)];
const id = (now) => {
  let text = '';
  for (let at = 0, left = now; at < 10; at += 1, left = Math.floor(left / 32)) text = ALPHABET[left % 32] + text;
  return text + Array.from({ length: 16 }, () => pick(ALPHABET)).join('');
};

export class MockCluster {
  constructor(count) {
    const perRack = count > 100 ? 40 : 4;
    const digits = String(count).length < 2 ? 2 : String(count).length;
    this.nodes = Array.from({ length: count }, (_, at) => ({
      node: `gpu-node-${String(at + 1).padStart(digits, '0')}`,
      worker: `worker-${String(at + 1).padStart(digits, '0')}`,
      rack: `rack-${String(Math.floor(at / perRack) + 1).padStart(2, '0')}`,
      model: at % 3 ? 'A100-80GB' : 'H100-80GB',
      gpus: 2,
      gpu_memory_mib: 81_920,
      health: 0,
      draining: false,
      incarnation: 1,
      phi: 0.4,
      fault: null,
      heat: 35,
      base: Math.random(),
      running: [],
      downSince: 0,
    }));
    this.byName = new Map(this.nodes.map((node) => [node.node, node]));
    this.jobs = new Map();
    this.events = [];
    this.fresh = [];
    this.seq = 65_536;
    this.points = [];
    this.bars = [];
    this.verdicts = [];
    this.faults = [];
    this.rate = 12;
    this.totals = { submitted: 0, committed: 0, requeued: 0, retried: 0, arrivals: [], commits: [] };
    this.revision = Math.floor(Date.now() / 1000) % 1_000_000;
  }

  get(name) {
    return this.byName.get(name);
  }

  event(now, service, level, kind, detail, more = {}) {
    this.seq += 65_536;
    const event = { seq: this.seq, at_ms: now, service, level, kind, detail, failures: 0, requeues: 0, ...more };
    this.events.push(event);
    this.fresh.push(event);
    if (this.events.length > 5000) this.events.shift();
  }

  submit(now, kind = pick(KINDS), priority = pick(PRIORITIES)) {
    const job = {
      id: id(now),
      name: `${kind}-${priority}`,
      kind,
      priority,
      state: 'queued',
      submitted_at_ms: now,
      ended_at_ms: null,
      node: null,
      progress_permille: 0,
      demand: { gpu_milli: 250, gpu_memory_mib: 0, models: [] },
      failures: 0,
      requeues: 0,
      attempts: [],
      result: '',
      reason: '',
      waiting: null,
      length: 4000 + Math.random() * 22_000,
    };
    this.jobs.set(job.id, job);
    this.totals.submitted += 1;
    this.totals.arrivals.push(now);
    return job;
  }

  step(now) {
    const arrivals = Math.min(20, (this.rate / 120) * Math.max(1, this.nodes.length / 12));
    for (let left = arrivals; left > 0; left -= 1) if (Math.random() < left) this.submit(now);
    for (const job of this.jobs.values()) {
      if (job.state === 'queued') this.place(job, now);
      else if (job.state === 'running') this.advance(job, now);
      else if (now - job.ended_at_ms > KEEP_MS) this.jobs.delete(job.id);
    }
    for (const node of this.nodes) this.live(node, now);
    if (this.points.length === 0 || now - this.points[this.points.length - 1].t_ms >= 1000) this.points.push(this.point(now));
    this.bars = this.bars.filter((bar) => (bar.end_ms ?? now) > now - KEEP_MS);
    for (const times of [this.totals.arrivals, this.totals.commits]) while (times[0] < now - 60_000) times.shift();
  }

  place(job, now) {
    const node = Array.from({ length: 6 }, () => pick(this.nodes)).find(
      (one) => one.health === 0 && !one.draining && one.running.length < 4,
    );
    job.waiting = node
      ? null
      : {
          since_ms: job.submitted_at_ms,
          rejects: [{ reason: 'gpu_share_taken', nodes: this.nodes.length }],
          summary: 'no node has enough of its GPUs free',
        };
    if (!node) return;
    const attempt = {
      attempt: id(now),
      node: node.node,
      incarnation: node.incarnation,
      gpus: [Math.floor(Math.random() * 2)],
      placed_at_ms: now,
      started_at_ms: now,
      ended_at_ms: null,
      outcome: 'running',
      detail: '',
      why: 'best fit: leaves the least share free, 0.25 of 1.00',
    };
    const bar = {
      job: job.id,
      name: job.name,
      kind: job.kind,
      attempt: attempt.attempt,
      node: node.node,
      gpus: attempt.gpus,
      start_ms: now,
      end_ms: null,
      outcome: 'running',
      next_attempt: null,
    };
    if (job.bar) job.bar.next_attempt = attempt.attempt;
    job.bar = bar;
    job.attempts.push(attempt);
    this.bars.push(bar);
    Object.assign(job, { state: 'running', node: node.node, progress_permille: 0 });
    node.running.push(job);
    this.event(now, 'scheduler-1', 'debug', 'job_placed', `${job.name} placed on ${node.node}`, { job: job.id, node: node.node });
  }

  end(job, now, outcome, detail = '') {
    const attempt = job.attempts[job.attempts.length - 1];
    Object.assign(attempt, { ended_at_ms: now, outcome, detail });
    Object.assign(job.bar, { end_ms: now, outcome });
    const node = this.get(job.node);
    node.running = node.running.filter((other) => other !== job);
    job.node = null;
  }

  advance(job, now) {
    const attempt = job.attempts[job.attempts.length - 1];
    const done = (now - attempt.started_at_ms) / job.length;
    job.progress_permille = Math.min(1000, Math.round(done * 1000));
    if (job.kind === 'fault' && Math.random() < 0.012) {
      const { node } = attempt;
      this.end(job, now, 'failed', 'the executor failed: fault asked for');
      Object.assign(job, { state: 'queued', failures: job.failures + 1 });
      this.totals.retried += 1;
      this.event(now, this.get(node).worker, 'warn', 'attempt_failed', 'the executor failed: fault asked for', { job: job.id, node });
    } else if (done >= 1) {
      this.end(job, now, 'committed');
      Object.assign(job, { state: 'committed', ended_at_ms: now, result: 'checksum 93d1f0' });
      this.totals.committed += 1;
      this.totals.commits.push(now);
    }
  }

  live(node, now) {
    const busy = node.running.length * 24;
    const goal = node.health > 1 ? 24 : 34 + busy * 0.45 + node.base * 6;
    node.heat += (goal - node.heat) * 0.06 + (Math.random() - 0.5);
    node.use = node.health > 1 ? 0 : Math.max(0, Math.min(100, busy + (busy ? (Math.random() - 0.3) * 18 : Math.random() * 3)));
    if (node.fault && now > node.fault.until_ms) this.restore(node, now);
    if (node.health === 0 && Math.random() < 0.0009) this.kill(node, now);
    else if (node.health === 2 && now - node.downSince > 2000) this.judge(node, 3, now, 'no heartbeat for 3.1 s');
    else if (node.health === 3 && now - node.downSince > 9000 && !node.fault) this.judge(node, 0, now, 'heartbeats of a new incarnation');
  }

  judge(node, health, now, evidence) {
    node.health = health;
    node.phi = [0.4, 8.6, 11, 18][health];
    this.verdicts.push({ node: node.node, health: HEALTH[health], at_ms: now });
    const kind = ['node_recovered', 'node_suspect', 'node_gone', 'node_dead'][health];
    this.event(now, 'fault-detector', health ? (health > 2 ? 'error' : 'warn') : 'info', kind, `${node.node}: ${evidence}`, {
      node: node.node,
    });
  }

  kill(node, now, kind = 'crash') {
    node.fault = { id: id(now), kind, from_ms: now, until_ms: now + 8000 };
    this.faults.push({ node: node.node, kind, from_ms: now, until_ms: now + 8000 });
    this.event(now, node.worker, 'warn', 'fault_began', `${kind} for 8 s`, { node: node.node });
    if (kind !== 'crash') return;
    node.downSince = now;
    node.incarnation += 1;
    this.judge(node, 2, now, 'its connection is gone and nobody answers a ping');
    for (const job of [...node.running]) {
      this.end(job, now, 'lost', 'the node is gone, noticed after 0.4 s');
      Object.assign(job, { state: 'queued', requeues: job.requeues + 1 });
      this.totals.requeued += 1;
      this.event(now, 'scheduler-1', 'warn', 'attempt_lost', `${node.node} is gone: requeued`, { job: job.id, node: node.node });
    }
  }

  restore(node, now) {
    if (!node.fault) return;
    this.event(now, node.worker, 'info', 'fault_ended', `${node.fault.kind} is over`, { node: node.node });
    node.fault = null;
  }

  point(now) {
    const [states, alive] = [[...this.jobs.values()], this.nodes.filter((node) => node.health === 0)];
    const lastSecond = (times) => times.filter((at) => at > now - 5000).length / 5;
    const mean = (of) => this.nodes.reduce((sum, node) => sum + of(node), 0) / this.nodes.length;
    return {
      t_ms: now,
      arrivals_per_s: lastSecond(this.totals.arrivals),
      completions_per_s: lastSecond(this.totals.commits),
      queue: states.filter((job) => job.state === 'queued').length,
      running: states.filter((job) => job.state === 'running').length,
      gpu_utilisation_percent: mean((node) => node.use),
      gpu_allocated_percent: mean((node) => node.running.length * 25),
      temperature_max_c: Math.max(...this.nodes.map((node) => node.heat)),
      temperature_mean_c: mean((node) => node.heat),
      nodes_alive: alive.length,
    };
  }
}

export { HEALTH };
