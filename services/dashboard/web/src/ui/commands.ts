// What can be done by typing it into the search field: go to a page, change the display, give an order to a node.

import { canNotify, notifies, setNotifies } from '../lib/notify';
import { PAGES } from '../lib/pages';
import { go } from '../lib/route';
import { signedIn, signOut } from '../lib/session';
import { index, paused, setPaused } from '../lib/store';
import { setTheme, theme, type Theme } from '../lib/theme';
import { breakNode, drain } from './give';
import { glossaryOpen } from './glossary';
import { openLessons } from './lessons';
import { shortcutsOpen } from './shortcuts';
import { order, toast } from './toast';

export interface Command {
  title: string;
  run: () => void;
}

const MOST = 6;

/** An order is its verb and a node, so that looking for a node never gives one. */
const ORDERS: Record<string, (node: string) => void> = {
  crash: (node) => void breakNode(node, 'crash'),
  drain: (node) => void drain(node, 'drain', `drain of ${node} is in force`),
  undrain: (node) => void drain(node, 'undrain', `undrain of ${node} is in force`),
};

function displays(): Command[] {
  const themes = (['auto', 'dark', 'light'] as Theme[]).filter((name) => name !== theme.peek());
  return [
    { title: 'Lessons', run: openLessons },
    ...(canNotify ? [{ title: `${notifies.peek() ? 'Stop notifying' : 'Notify'} of incidents`, run: () => void setNotifies(!notifies.peek()).then((text) => toast(text)) }] : []),
    { title: 'Compare two instants', run: () => go('/compare') },
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
