// A recording is this page in one file, with what was kept of a stretch of time: it answers in the place of the service. The file holds lines of
// base64: first the answers, then the segments of the past, each compressed with gzip.

import { answerFrom, ApiFailure } from './api';
import { failures, goTo, jump, loadKept, notice, reach } from './past';
import { param } from './route';
import type { Columns, EventsPage, IncidentsPage, Kept, NumberedEvent, Window } from './wire';

interface Answers {
  kept: Kept;
  series: Columns;
  events: NumberedEvent[];
  incidents: IncidentsPage;
  timeline: Window;
}

async function unpack(line: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = Uint8Array.from(atob(line), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A part of the recorded timeline, as the service would choose it. */
function windowOf(all: Window, query: URLSearchParams): Window {
  const [from, to] = [Number(query.get('from_ms')), Number(query.get('to_ms'))];
  const lasts = (begin: number, end: number | null | undefined) => begin <= to && (end ?? Infinity) >= from;
  const bars = all.bars.filter((bar) => lasts(bar.start_ms, bar.end_ms));
  const verdicts = all.verdicts.filter((verdict) => lasts(verdict.at_ms, verdict.at_ms));
  const faults = all.faults.filter((fault) => lasts(fault.from_ms, fault.until_ms));
  const hit = [...bars.filter((bar) => bar.outcome !== 'committed' && bar.outcome !== 'running'), ...verdicts.filter((one) => one.health !== 'alive'), ...faults];
  const affected = new Set(hit.map((one) => one.node));
  const isWanted = (one: { node: string }) => query.get('affected') !== 'true' || affected.has(one.node);
  const part = { bars: bars.filter(isWanted), verdicts: verdicts.filter(isWanted), faults };
  const nodes = [...new Set([...part.bars, ...part.verdicts, ...part.faults].map((one) => one.node))];
  return { ...all, ...part, nodes, from_ms: from, to_ms: to };
}

function eventsOf(all: NumberedEvent[], query: URLSearchParams): Pick<EventsPage, 'items'> {
  const until = Number(query.get('until_ms') ?? Infinity);
  return { items: all.filter((event) => event.at_ms <= until).slice(-Number(query.get('limit') ?? 1000)) };
}

/** What the service would have answered. */
async function answer(asked: string, answers: Answers, segments: string[]): Promise<unknown> {
  const { pathname, searchParams } = new URL(asked, 'http://recording');
  if (pathname === '/past') return answers.kept;
  if (pathname === '/series') return answers.series;
  if (pathname === '/incidents') return answers.incidents;
  if (pathname === '/events') return eventsOf(answers.events, searchParams);
  if (pathname === '/timeline') return windowOf(answers.timeline, searchParams);
  const at = answers.kept.segments.findIndex((segment) => pathname === `/past/${segment.id}`);
  if (at < 0) throw new ApiFailure(404, 'not_recorded', 'this is not in the recording', null, null);
  return unpack(segments[at]!);
}

/** Reads the file that this page is, and shows it from just before the last incident, or from where the address says. */
export async function openRecording(): Promise<void> {
  const [head = '', ...segments] = document.getElementById('recording')!.textContent!.trim().split('\n');
  const read = unpack(head).then((bytes) => JSON.parse(new TextDecoder().decode(bytes)) as Answers);
  answerFrom(async (asked) => answer(asked, await read, segments));
  try {
    await loadKept();
    const named = Number(param('t'));
    await goTo(named > 0 ? named : reach.value!.to);
    if (!named && failures.value.length) await jump(-1);
  } catch (error) {
    notice.value = `The recording cannot be read: ${error instanceof Error ? error.message : String(error)}; record it again`;
  }
}
