// The address is the state: which page, its filters, and the instant that is shown. Components read the signals; only these functions write
// them. A recording is one file, so its places stand behind the #.

import { computed, signal } from '@preact/signals';
import { instant, isRecording } from './instant';

interface Place {
  path: string;
  query: URLSearchParams;
}

function here(): Place {
  const inFile = new URL(location.hash.slice(1) || '/', 'http://recording');
  const { pathname, search } = isRecording ? inFile : location;
  return { path: pathname.replace(/\/+$/, '') || '/', query: new URLSearchParams(search) };
}

const address = (path: string, query: string) => (isRecording ? '#' : '') + path + (query ? `?${query}` : '');

const place = signal<Place>(here());
export const path = computed(() => place.value.path);
const queryText = computed(() => place.value.query.toString());
export const params = computed(() => new URLSearchParams(queryText.value));

addEventListener(isRecording ? 'hashchange' : 'popstate', () => {
  place.value = here();
});

/** What charts and timeline share, and the pages that have them: the stretch of time that was chosen on one is the other's. */
const RANGE = ['span', 'from', 'to'] as const;
const RANGED = new Set(['/', '/timeline']);
let range: [string, string][] = [];

function takeRangeAlong(path: string, query: URLSearchParams): void {
  const before = here();
  if (RANGED.has(before.path)) range = RANGE.flatMap((name) => (before.query.has(name) ? [[name, before.query.get(name)!]] : []));
  if (RANGED.has(path) && ![...RANGE, 'at'].some((name) => query.has(name))) for (const [name, value] of range) query.set(name, value);
}

/** A lesson goes on, whatever page one looks at meanwhile. */
const LESSON = ['lesson', 'guess', 'began', 'on', 'learned'] as const;

export function go(to: string): void {
  const { pathname, search } = new URL(to, 'http://page');
  const query = new URLSearchParams(search);
  takeRangeAlong(pathname, query);
  for (const name of LESSON) if (here().query.has(name) && !query.has(name)) query.set(name, here().query.get(name)!);
  if (instant.peek() !== null && !query.has('t')) query.set('t', String(Math.round(instant.peek()!)));
  const next = address(pathname, query.toString());
  if (isRecording) location.hash = next;
  else if (next !== location.pathname + location.search) history.pushState(null, '', next);
  place.value = here();
}

/** Changes some of the filters and keeps the rest; an empty value removes one. Typing in a field makes no history entries. */
export function setParams(changes: Record<string, string | null | undefined>): void {
  const next = new URLSearchParams(here().query);
  for (const [key, value] of Object.entries(changes)) {
    if (value) next.set(key, value);
    else next.delete(key);
  }
  const to = address(isRecording ? here().path : location.pathname, next.toString());
  if (isRecording) location.replace(to);
  else history.replaceState(null, '', to);
  place.value = here();
}

export const param = (name: string): string => params.value.get(name) ?? '';

/** Opens the drawer of a node over whatever page is open. */
export const inspect = (node: string): void => setParams({ inspect: node });

/** Follows links to our own pages without loading anything anew. */
export function catchLinks(root: HTMLElement): void {
  root.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element).closest('a');
    // In a file the browser takes the root of the disk for that of the page: what the link says counts.
    const to = link?.getAttribute('href');
    if (!link || !to?.startsWith('/') || link.target || link.hasAttribute('download') || to.startsWith('/api/')) return;
    event.preventDefault();
    go(to);
    scrollTo(0, 0);
  });
}
