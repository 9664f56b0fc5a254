// Whether a file keeps the rules of the Trace Event Format that viewers rely on: each complaint is a text.

const isWhole = (value) => Number.isInteger(value) && value >= 0;

/** @param {{ traceEvents: object[], displayTimeUnit: string }} trace @param {[number, number]} window Unix milliseconds */
export function complaintsAbout(trace, [fromMs, toMs]) {
  const complaints = [];
  const events = trace.traceEvents;
  const of = (phase) => events.filter((event) => event.ph === phase);
  const complain = (what, event) => complaints.push(`${what}: ${JSON.stringify(event)}`);
  if (!['ms', 'ns'].includes(trace.displayTimeUnit)) complain('displayTimeUnit', trace.displayTimeUnit);

  for (const event of events) {
    if (!['X', 'M', 's', 'f'].includes(event.ph)) complain('an unknown phase', event);
    if (!isWhole(event.pid) || !isWhole(event.tid) || typeof event.name !== 'string' || !event.name) complain('pid, tid or name', event);
    // Microseconds: the same number in milliseconds would be a thousandth of it.
    if (event.ph !== 'M' && !(isWhole(event.ts) && event.ts / 1000 >= fromMs - 3_600_000 && event.ts / 1000 <= toMs)) complain('ts', event);
    if (event.ph === 'X' && !isWhole(event.dur)) complain('dur', event);
  }

  const named = (kind) => new Map(of('M').filter((event) => event.name === kind).map((event) => [event, event.args?.name]));
  const [processes, threads] = [named('process_name'), named('thread_name')];
  for (const [event, name] of [...processes, ...threads]) if (typeof name !== 'string' || !name) complain('a name without a text', event);
  const pids = new Set([...processes.keys()].map((event) => event.pid));
  const tids = new Set([...threads.keys()].map((event) => `${event.pid} ${event.tid}`));
  if (pids.size !== processes.size || tids.size !== threads.size) complaints.push('a process or thread has two names');
  for (const event of events.filter((event) => event.ph !== 'M'))
    if (!pids.has(event.pid) || !tids.has(`${event.pid} ${event.tid}`)) complain('a process or thread without a name', event);

  const lanes = group(of('X'), lane);
  for (const slices of lanes.values()) {
    slices.sort((a, b) => a.ts - b.ts);
    slices.slice(1).forEach((slice, at) => {
      if (slices[at].ts + slices[at].dur > slice.ts) complain('two slices of a thread overlap', slice);
    });
  }

  const encloses = (event) => (lanes.get(lane(event)) ?? []).some((slice) => slice.ts <= event.ts && event.ts <= slice.ts + slice.dur);
  const [starts, ends] = [of('s'), of('f')];
  for (const event of [...starts, ...ends]) if (!encloses(event)) complain('an arrow end outside of any slice', event);
  for (const start of starts) {
    const mine = ends.filter((end) => end.id === start.id && end.name === start.name && end.cat === start.cat);
    if (mine.length !== 1 || starts.filter((other) => other.id === start.id).length !== 1) complain('an arrow without exactly one end', start);
    else if (mine[0].ts < start.ts) complain('an arrow back in time', start);
    else if (mine[0].bp !== 'e') complain('an arrow end that is bound to the next slice', mine[0]);
  }
  if (starts.length !== ends.length) complaints.push(`${starts.length} arrows begin and ${ends.length} end`);
  return complaints;
}

const lane = (event) => `${event.pid} ${event.tid}`;

function group(items, keyOf) {
  const groups = new Map();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
