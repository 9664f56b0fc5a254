// What the page says, from what it is told: no cluster and no browser.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { load } from './lib/page.mjs';

const NOW = 1_000_000;

test('a banner names who does not answer, since when, and what follows', async () => {
  const { troubleOf } = await load('lib/trouble.ts');
  const fine = { nats_connected: true, leader: 'scheduler-1', nodes_unjudged: 0 };
  assert.equal(troubleOf(fine, NOW), null);
  const frozen = troubleOf({ ...fine, nats_silent_since_ms: NOW - 6_000, stale_since_ms: NOW - 5_500, nodes_unjudged: 8 }, NOW);
  assert.deepEqual([frozen.what, frozen.sinceMs, frozen.bad], ['NATS has not answered', NOW - 6_000, true], 'not those that cannot be heard');
  assert.match(frozen.follows, /^running jobs continue, nothing is placed or committed until NATS answers/);
  const down = troubleOf({ ...fine, nats_connected: false, stale_since_ms: NOW - 400 }, NOW);
  assert.deepEqual([down.what, down.sinceMs], ['NATS has not answered', NOW - 400]);
  const leaderless = troubleOf({ ...fine, stale_since_ms: NOW - 4_000 }, NOW);
  assert.match(leaderless.what, /^NATS answers, and the scheduler \(scheduler-1 led last\) has not answered$/);
  assert.deepEqual([leaderless.sinceMs, leaderless.bad], [NOW - 4_000, false]);
  assert.match(leaderless.follows, /continue and commit, nothing is placed/);
  const unjudged = troubleOf({ ...fine, nodes_unjudged: 1 }, NOW);
  assert.match(unjudged.what, /^1 node sent no heartbeat for more than 20 s, and no verdict came$/);
  assert.match(unjudged.follows, /the fault detector may not run/);
  assert.ok(!/standby/.test(JSON.stringify([frozen, down, leaderless])), 'whether there is one is not known');
});

test('the page writes a length of time as the command does', async () => {
  const { span } = await load('lib/format.ts');
  // The engine's tests read the same file.
  const cases = JSON.parse(await readFile(new URL('../../shared/engine/src/spans.json', import.meta.url), 'utf8'));
  for (const [ms, text] of cases) assert.equal(span(ms), text);
  assert.deepEqual([span(null), span(-1), span(Number.NaN)], ['–', '0 ms', '–']);
});

test('jobs, attempts and events have the words of the glossary', async () => {
  const { jobStateWords, words } = await load('lib/format.ts');
  assert.deepEqual(['lost', 'attempt_lost', 'job_dead', 'node_dead'].map(words), ['interrupted', 'attempt interrupted', 'job given up', 'node dead']);
  const attempts = (outcome) => [{ outcome: 'lost' }, { outcome }];
  assert.equal(jobStateWords({ state: 'queued', attempts: attempts('failed') }), 'waiting for a retry');
  assert.equal(jobStateWords({ state: 'queued', path: attempts('timed_out') }), 'waiting for a retry');
  assert.equal(jobStateWords({ state: 'queued', attempts: attempts('lost') }), 'queued');
  assert.equal(jobStateWords({ state: 'running', attempts: attempts('failed') }), 'running');
  assert.equal(jobStateWords({ state: 'dead', attempts: attempts('failed') }), 'given up');
  const { entries } = await load('ui/glossary.tsx');
  assert.ok(entries.length >= 15 && entries.some(([word]) => word === 'recovery') && entries.every(([, meaning]) => !/[`*|]/.test(meaning)));
});

test('an event about a job keeps the name of the node that it is about', async () => {
  const { detailOf } = await load('lib/event-words.ts');
  const gone = { node: 'gpu-node-02', kind: 'attempt_lost', detail: 'gpu-node-02 is gone: no answer' };
  assert.equal(detailOf({ ...gone, job: '01M8NRP1AAAAAAAAAAAAQNM9Y8' }), 'gpu-node-02 is gone: no answer');
  assert.equal(detailOf({ ...gone, kind: 'node_gone' }), 'is gone: no answer', 'the line begins with the name');
  assert.equal(detailOf({ ...gone, kind: 'node_gone' }, false), 'gpu-node-02 is gone: no answer');
  assert.equal(detailOf({ kind: 'job_dead', detail: '' }), 'job given up');
});

test('a rate that is not in force says so and why', async () => {
  const { notInForce } = await load('pages/rate.tsx');
  const asked = { jobs_per_minute: 2000, set_by: 'cli', in_force: '2 jobs a minute', in_force_per_minute: 2, refused: null };
  assert.equal(notInForce({ ...asked, in_force_per_minute: 2000 }), '');
  assert.match(notInForce({ ...asked, refused: 'outside 0.1 to 50' }), /^Refused, the generator keeps to 2 jobs a minute: outside 0.1 to 50/);
  assert.match(notInForce({ ...asked, in_force: null }), /^No generator runs/);
  assert.match(notInForce(asked), /still keeps to 2 jobs a minute$/);
  assert.equal(notInForce({ ...asked, set_by: '' }), '', 'no other one was asked for');
  const share = { ...asked, load_percent: 90, in_force_load_percent: 60, in_force: 'a load of 60 %' };
  assert.match(notInForce(share), /still keeps to a load of 60 %$/);
  assert.equal(notInForce({ ...share, in_force_load_percent: 90 }), '', 'what a load comes to may change');
});

test('times are local and say in which zone', async () => {
  const { instant, zone } = await load('lib/format.ts');
  const before = process.env.TZ;
  try {
    process.env.TZ = 'America/New_York';
    assert.equal(zone(Date.UTC(2026, 10, 30)), 'UTC-05:00, America/New_York');
    assert.equal(instant(Date.UTC(2026, 10, 30, 12)), '2026-11-30 07:00:00.0 UTC-05:00, America/New_York');
    process.env.TZ = 'UTC';
    assert.equal(zone(Date.UTC(2026, 6, 1)), 'UTC');
  } finally {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  }
});

test('the timeline of an instant has nothing of later, and what ended later runs', async () => {
  const { windowAt } = await load('pages/timeline-model.ts');
  const bar = (attempt, start_ms, end_ms, next_attempt = null) => ({ attempt, start_ms, end_ms, next_attempt, outcome: 'lost', cause: {}, node: 'a', job: 'j', gpus: [] });
  const data = {
    bars: [bar('1', 100, 200, '2'), bar('2', 210, 400, '3'), bar('3', 500, null)],
    verdicts: [{ node: 'a', at_ms: 205 }, { node: 'a', at_ms: 400 }],
    faults: [{ node: 'a', from_ms: 190 }, { node: 'a', from_ms: 300 }],
    nodes: ['a'],
  };
  const at = (ms) => windowAt(data, ms);
  assert.deepEqual(at(250).bars.map((one) => [one.attempt, one.end_ms, one.outcome, one.next_attempt]), [['1', 200, 'lost', '2'], ['2', null, 'running', null]]);
  assert.deepEqual([at(250).verdicts.length, at(250).faults.length], [1, 1]);
  assert.equal(at(205).bars[0].next_attempt, null, 'the next attempt had not begun');
  assert.equal(at(600).bars[1].next_attempt, '3');
});

test('a segment is read forwards, and each instant lasts until the next one', async () => {
  const { Reader } = await load('lib/segment.ts');
  const record = (kind, body) => {
    const head = Buffer.alloc(5);
    head.writeUInt8(kind);
    head.writeUInt32LE(body.length, 1);
    return Buffer.concat([head, body]);
  };
  const time = (ms) => {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(BigInt(ms));
    return record(0, body);
  };
  const text = (value) => record(1, Buffer.from(JSON.stringify(value)));
  const header = Buffer.alloc(16);
  const segment = Buffer.concat([
    time(1000), record(4, Buffer.from('{"nodes":["a","b"]}')), record(2, Buffer.concat([header, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 255])])), text({ type: 'hello' }),
    time(2000), record(3, Buffer.concat([header, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0, 2])])), text({ type: 'delta' }),
  ]);
  const reader = new Reader(new Uint8Array(segment));
  const heard = [];
  const sink = { told: (message) => heard.push(message.type), ordered: (index) => heard.push(index.nodes.join()) };
  assert.equal(reader.readTo(1999, sink), true);
  assert.deepEqual([heard, reader.at, [...reader.frame.slice(16)]], [['a,b', 'hello'], 1000, [1, 2, 3, 4, 5, 6, 7, 8, 9, 255]]);
  assert.equal(reader.readTo(1999, sink), false);
  assert.equal(reader.readTo(5000, sink), true);
  assert.deepEqual([heard.at(-1), reader.at, [...reader.frame.slice(16)]], ['delta', 2000, [2, 2, 3, 4, 5, 6, 7, 8, 9, 1]]);
});

test('an instant is in the finest segment that does not begin after it', async () => {
  const { segmentAt } = await load('lib/segment.ts');
  const segments = [[1000, 600], [1000, 660], [10000, 0], [10000, 600]].map(([every_ms, from_ms]) => ({ id: `${every_ms}-${from_ms}`, every_ms, from_ms }));
  const of = (at) => segmentAt(segments, at)?.id;
  assert.deepEqual([of(-1), of(5), of(599), of(600), of(659), of(700)], [undefined, '10000-0', '10000-0', '1000-600', '1000-600', '1000-660']);
});

test('each move is one arc, and what moved before the page began is none', async () => {
  const { Moves, stateOf } = await load('ui/heat-arcs.ts');
  const moves = new Moves();
  const incident = (...ways) => [{ id: 'i', moves: ways.map(([from, to, jobs, last_ms]) => ({ from, to, jobs, last_ms })) }];
  assert.deepEqual(moves.next(incident(['a', 'b', 3, 1_000]), 0, 60_000), [], 'long ago');
  assert.deepEqual(moves.next(incident(['a', 'b', 3, 1_000]), 0, 60_000), []);
  const arcs = moves.next(incident(['a', 'b', 5, 60_000], ['a', 'c', 1, 60_000], ['d', 'd', 1, 60_000]), 100, 60_500);
  assert.deepEqual(arcs.map(({ from, to, jobs }) => [from, to, jobs]), [['a', 'b', 2], ['a', 'c', 1]]);
  assert.ok(arcs[0].startMs === 100 && arcs[1].startMs > 100, 'one after the other');
  assert.deepEqual(moves.next([], 200, 61_000), []);

  const arc = { from: 'a', to: 'b', jobs: 1, startMs: 1_000 };
  assert.equal(stateOf(arc, 900, false).strength, 0, 'not yet');
  assert.ok(stateOf(arc, 1_300, false).done < 1 && stateOf(arc, 2_500, false).done === 1);
  assert.deepEqual(stateOf(arc, 1_001, true), { done: 1, strength: 1 }, 'no motion');
  assert.equal(stateOf(arc, 9_000, false), null);
});
