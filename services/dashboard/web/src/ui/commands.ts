// What can be done by typing it into the search field: go to a page, change the display, give an order to a node.

import { post } from '../lib/api';
import { PAGES } from '../lib/pages';
import { go } from '../lib/route';
import { signedIn, signOut } from '../lib/session';
import { index, paused, setPaused } from '../lib/store';
import { setTheme, theme, type Theme } from '../lib/theme';
import type { FaultView } from '../lib/wire';
import { glossaryOpen } from './glossary';
import { shortcutsOpen } from './shortcuts';
import { order } from './toast';

export interface Command {
  title: string;
  run: () => void;
}

const MOST = 6;
const FAULT_MS = 10_000;

/** Orders need their verb and a node: nobody gives one by looking for something. */
const ORDERS: Record<string, (node: string) => void> = {
  crash: (node) =>
    void order(
      () => post<FaultView>(`/nodes/${encodeURIComponent(node)}/fault`, { kind: 'crash', for_ms: FAULT_MS }),
      ({ outcome }) => (outcome ? `${node}: ${outcome}` : `crash ordered on ${node}; its worker has not confirmed it yet`),
    ),
  drain: (node) => drain(node, 'drain', { reason: 'drained from the dashboard' }),
  undrain: (node) => drain(node, 'undrain', undefined),
};

function drain(node: string, what: 'drain' | 'undrain', body: unknown): void {
  void order(
    () => post<{ in_force: boolean }>(`/nodes/${encodeURIComponent(node)}/${what}`, body),
    ({ in_force: isInForce }) => (isInForce ? `${what} of ${node} is in force` : `${what} of ${node} is stored, and not in force yet`),
  );
}

function displays(): Command[] {
  const themes = (['auto', 'dark', 'light'] as Theme[]).filter((name) => name !== theme.peek());
  return [
    { title: 'Submit jobs', run: () => go('/jobs?submit=yes') },
    { title: paused.peek() ? 'Resume the display' : 'Pause the display', run: () => setPaused(!paused.peek()) },
    ...themes.map((name) => ({ title: `Theme: ${name}`, run: () => setTheme(name) })),
    { title: 'Glossary', run: () => (glossaryOpen.value = true) },
    { title: 'Keyboard shortcuts', run: () => (shortcutsOpen.value = true) },
    ...(signedIn.peek() ? [{ title: 'Sign out', run: () => void order(signOut, 'Signed out') }] : []),
  ];
}

/** The commands that the text is a part of. */
export function commandsFor(text: string): Command[] {
  const [verb = '', node] = text.toLowerCase().split(/\s+/);
  const give = ORDERS[verb];
  if (give) {
    const named = index.peek().nodes.filter((name) => name.toLowerCase().includes(node ?? ''));
    return named.slice(0, MOST).map((name) => ({ title: `${verb[0]!.toUpperCase()}${verb.slice(1)} ${name}`, run: () => give(name) }));
  }
  const pages = PAGES.map(([to, label]) => ({ title: `Go to ${label}`, run: () => go(to) }));
  const wanted = text.toLowerCase();
  return [...pages, ...displays()].filter(({ title }) => title.toLowerCase().includes(wanted)).slice(0, MOST);
}
