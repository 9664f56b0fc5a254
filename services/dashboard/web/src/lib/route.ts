// The address is the state: which page, and its filters. Components read the signals; only these functions write them.

import { computed, signal } from '@preact/signals';

interface Place {
  path: string;
  query: URLSearchParams;
}

const here = (): Place => ({ path: location.pathname.replace(/\/+$/, '') || '/', query: new URLSearchParams(location.search) });

const place = signal<Place>(here());
export const path = computed(() => place.value.path);
const queryText = computed(() => place.value.query.toString());
export const params = computed(() => new URLSearchParams(queryText.value));

addEventListener('popstate', () => {
  place.value = here();
});

export function go(to: string): void {
  if (to !== location.pathname + location.search) history.pushState(null, '', to);
  place.value = here();
}

/** Changes some of the filters and keeps the rest; an empty value removes one. Typing in a field makes no history entries. */
export function setParams(changes: Record<string, string | null | undefined>): void {
  const next = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value) next.set(key, value);
    else next.delete(key);
  }
  const text = next.toString();
  history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''));
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
    if (!link || link.origin !== location.origin || link.target || link.hasAttribute('download') || link.pathname.startsWith('/api/'))
      return;
    event.preventDefault();
    go(link.pathname + link.search);
    scrollTo(0, 0);
  });
}
