// Five lessons: what each asks, what it breaks, and how its answer is read from the incident that this caused. No answer is written down here.

import { post } from './api';
import { count, span } from './format';
import type { FaultView, IncidentView, KillDone, RunStarted } from './wire';

/** One of the answers to choose from: from `from` on and below `to`, in the lesson's unit. */
export interface Choice {
  text: string;
  from: number;
  to: number;
}

export interface Lesson {
  id: string;
  title: string;
  goal: string;
  action: string;
  question: string;
  choices: Choice[];
  /** Breaks something; says what was broken, by the name that incidents have for it. `busy` is a node that runs jobs. */
  begin: (busy: string) => Promise<string>;
  /** Whether an incident is about what this lesson broke. */
  isAbout: (incident: IncidentView, target: string) => boolean;
  /** The answer; null while it is not known. */
  measure: (incidents: IncidentView[]) => number | null;
  show: (value: number) => string;
  why: string;
  /** What else to look at in the incident. */
  also: (incident: IncidentView) => string;
  /** Needs a node that runs something. */
  needsJobs: boolean;
}

const SHORT: Choice[] = [
  { text: 'under 0.5 s', from: 0, to: 500 },
  { text: '0.5 to 2 s', from: 500, to: 2000 },
  { text: '2 to 10 s', from: 2000, to: 10_000 },
  { text: '10 s and more', from: 10_000, to: Infinity },
];
const FAULT_MS = 10_000;
/** An experiment that watches for a moment only: what counts here is the incident. */
const BRIEF = { before_ms: 0, after_ms: 1000 };

const hits = (incident: IncidentView, target: string) => incident.targets.includes(target) || incident.nodes.includes(target);
const first = (incidents: IncidentView[]) => incidents[0];
const stepAfter = (incident: IncidentView | undefined, kind: string) => incident?.story.find((step) => step.kind === kind)?.after_ms ?? null;
const fault = (node: string, body: object) => post<FaultView>(`/nodes/${encodeURIComponent(node)}/fault`, body);
const jobsOf = (incident: IncidentView) => `${count(incident.interrupted)} interrupted, ${count(incident.placed_again)} placed again`;

export const LESSONS: Lesson[] = [
  {
    id: 'worker',
    title: 'A worker dies',
    goal: 'See what becomes of the jobs of a process that is killed without a warning.',
    action: 'Kill the worker of {node}',
    question: 'How long after the kill has every job of it been placed elsewhere?',
    choices: SHORT,
    begin: async (busy) => (await post<KillDone>(`/nodes/${encodeURIComponent(busy)}/kill`, {})).service,
    isAbout: hits,
    measure: (incidents) => first(incidents)?.placed_again_after_ms ?? null,
    show: span,
    why: 'The kernel closes the connections of a process that dies, and the NATS server tells the fault detector. It asks the worker twice, hears nothing, and gives the nodes up; the scheduler places their jobs in the same moment. No timeout has to pass.',
    also: (incident) => `Noticed after ${span(incident.noticed_after_ms)}; jobs: ${jobsOf(incident)}.`,
    needsJobs: true,
  },
  {
    id: 'frozen',
    title: 'Frozen, or only late?',
    goal: 'See how silence is judged when no connection ends, and what a false alarm costs.',
    action: 'Stop the heartbeats of {node} for 10 s',
    question: 'How long after its last sign of life is the node suspected? It works on all the time.',
    choices: SHORT,
    begin: async (busy) => (await fault(busy, { kind: 'heartbeat_loss', for_ms: FAULT_MS })).node,
    isAbout: hits,
    measure: (incidents) => first(incidents)?.noticed_after_ms ?? null,
    show: span,
    why: 'Nothing but silence tells, and silence becomes suspicious by and by: phi is the number of nines of that suspicion. The detector first asks the worker whether the node lives. A node that is suspected in error keeps its jobs; one that is given up in error runs them beside the new attempt, and only one of the two can commit.',
    also: (incident) => (incident.interrupted ? `A false alarm that cost work: ${jobsOf(incident)}.` : 'It was a false alarm, and no job was interrupted.'),
    needsJobs: false,
  },
  {
    id: 'leader',
    title: 'The leader dies',
    goal: 'See what goes on and what stops while no scheduler leads.',
    action: 'Kill the leading scheduler',
    question: 'How long until the other scheduler leads?',
    choices: SHORT,
    begin: async () => {
      await post<RunStarted>('/chaos/run', { kind: 'kill-service', target: 'leader', for_ms: 5000, ...BRIEF });
      return 'scheduler';
    },
    isAbout: (incident) => incident.targets.some((name) => name.startsWith('scheduler')),
    measure: (incidents) => stepAfter(first(incidents), 'leader'),
    show: span,
    why: 'The leader holds a lease that it renews. Nothing tells a lease from a leader that is only slow, so the standby waits until the lease has run out. Meanwhile jobs run and commit, for both need no leader; nothing new is placed. The new leader has a higher epoch, and workers refuse the old one.',
    also: (incident) => `${incident.leader ? `${incident.leader} leads now. ` : ''}Jobs: ${count(incident.interrupted)} interrupted.`,
    needsJobs: false,
  },
  {
    id: 'nats',
    title: 'NATS dies',
    goal: 'See what becomes of running jobs when nobody can send a message.',
    action: 'Kill the NATS server for 3 s',
    question: 'How many running jobs are interrupted?',
    choices: [
      { text: 'none', from: 0, to: 1 },
      { text: '1 to 5', from: 1, to: 6 },
      { text: 'more, not all', from: 6, to: Infinity },
    ],
    begin: async () => {
      await post<RunStarted>('/chaos/run', { kind: 'kill-nats', for_ms: 3000, ...BRIEF });
      return 'nats';
    },
    isAbout: hits,
    measure: (incidents) => (first(incidents)?.state === 'recovered' ? first(incidents)!.interrupted : null),
    show: (value) => (value === 1 ? '1 job' : `${count(value)} jobs`),
    why: 'Workers need NATS to be told of jobs and to commit results, not to run. They work on and send what they have when the server is back; everything that was acknowledged is on its disk. The detector judges nobody while it hears nothing itself, or all nodes would be dead at once.',
    also: (incident) => (incident.recovered_ms ? `Everything was as before ${span(incident.recovered_ms - incident.began_ms)} after the kill.` : ''),
    needsJobs: false,
  },
  {
    id: 'lemon',
    title: 'A lemon',
    goal: 'Find the node that is never down and still costs work, again and again.',
    action: 'Break GPUs of {node} three times',
    question: 'How often does the fault detector judge the node?',
    choices: [
      { text: 'never', from: 0, to: 1 },
      { text: 'once', from: 1, to: 2 },
      { text: 'each time', from: 2, to: Infinity },
    ],
    begin: async (busy) => {
      for (let time = 0; time < LEMON_TIMES; time += 1) {
        if (time > 0) await new Promise((resolve) => setTimeout(resolve, LEMON_MS + 500));
        await fault(busy, { kind: 'xid_79', for_ms: LEMON_MS });
      }
      return busy;
    },
    isAbout: hits,
    measure: (incidents) => {
      const over = incidents.filter((incident) => incident.state === 'recovered');
      return over.length && over.length === incidents.length ? incidents.filter((incident) => typeof incident.noticed_after_ms === 'number').length : null;
    },
    show: (value) => (value === 0 ? 'never' : value === 1 ? 'once' : `${count(value)} times`),
    why: 'A broken GPU does not silence its node: heartbeats go on, so there is nothing to judge. Jobs fail there, are tried elsewhere, and the node looks idle and therefore attractive. Lemons are found by counting what fails where, not by heartbeats; drain such a node.',
    also: (incident) => `The last of them: ${jobsOf(incident)}.`,
    needsJobs: true,
  },
];

const LEMON_TIMES = 3;
const LEMON_MS = 2000;

export const rightChoice = (lesson: Lesson, value: number) => lesson.choices.findIndex(({ from, to }) => value >= from && value < to);

/** The distance from the mean, in deviations, beyond which a normally distributed value lies with the odds 10^-phi. */
export function deviationsOf(phi: number): number {
  let [low, high] = [0, 40];
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (minusLog10OfTail(middle) < phi) low = middle;
    else high = middle;
  }
  return low;
}

/** -log10 of the upper tail of the normal distribution, by the continued fraction of Mills' ratio; for values of 1 and more. */
function minusLog10OfTail(z: number): number {
  let fraction = z;
  for (let term = 80; term > 0; term -= 1) fraction = z + term / fraction;
  return (z * z) / 2 / Math.LN10 + Math.log10(Math.sqrt(2 * Math.PI) * fraction);
}
