// Deaths and recoveries in words, for a polite live region: gathered for a moment, so that thirty deaths are one sentence.

import { signal } from '@preact/signals';
import type { NumberedEvent } from './wire';

export const announcement = signal('');

const WORDS: Record<string, string> = {
  node_suspect: 'is suspect',
  node_gone: 'is gone',
  node_dead: 'is dead',
  node_recovered: 'has recovered',
  node_joined: 'has joined',
};
const SAID = new Set(['node_gone', 'node_dead', 'node_recovered']);
const GATHER_MS = 1500;
const MOST_NAMED = 3;

let gathered = new Map<string, Set<string>>();
let timer = 0;

export function announceEvents(events: NumberedEvent[]): void {
  for (const event of events) {
    if (!event.node || !SAID.has(event.kind)) continue;
    const named = gathered.get(event.kind) ?? new Set();
    gathered.set(event.kind, named.add(event.node));
  }
  if (gathered.size && !timer) timer = window.setTimeout(speak, GATHER_MS);
}

function speak(): void {
  timer = 0;
  announcement.value = [...gathered].map(([kind, named]) => sentence(kind, [...named])).join('. ');
  gathered = new Map();
}

function sentence(kind: string, named: string[]): string {
  const verb = WORDS[kind] ?? kind;
  if (named.length === 1) return `${named[0]} ${verb}`;
  const plural = verb.replace(/^is /, 'are ').replace(/^has /, 'have ');
  return named.length <= MOST_NAMED ? `${named.join(', ')} ${plural}` : `${named.length} nodes ${plural}`;
}

/** Something that the page itself did, such as a job submitted. */
export function say(text: string): void {
  announcement.value = text;
}
