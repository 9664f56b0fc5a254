// Keys that work on every page, and the dialog that lists them.

import { signal } from '@preact/signals';
import { instant } from '../lib/instant';
import { backToLive, jump, playing, setPlaying } from '../lib/past';
import { go, param, setParams } from '../lib/route';
import { paused, setPaused } from '../lib/store';
import { setTheme, theme } from '../lib/theme';
import { killOnDemand } from './demo';
import { useModal } from './hooks';

export const shortcutsOpen = signal(false);

const PLACES: Record<string, string> = { o: '/', n: '/nodes', j: '/jobs', t: '/timeline', c: '/chaos', i: '/incidents', e: '/events', s: '/system', m: '/system/messaging' };
const LIST: [string[], string][] = [
  [['/'], 'Search for a node, a job, or a command; also Ctrl-K'],
  [['p'], 'Pause or resume the display; in the past: play'],
  [[','], 'To just before the previous incident'],
  [['.'], 'To just before the next incident'],
  [['l'], 'Back to live'],
  [['t'], 'Next theme: auto, dark, light'],
  [['g', 'o'], 'Overview'],
  [['g', 'n'], 'Nodes'],
  [['g', 'j'], 'Jobs'],
  [['g', 't'], 'Timeline'],
  [['g', 'c'], 'Chaos'],
  [['g', 'i'], 'Incidents'],
  [['g', 'e'], 'Events'],
  [['g', 's'], 'System: processes and logs'],
  [['g', 'm'], 'Messaging'],
  [['Esc'], 'Close the drawer or the dialog'],
  [['?'], 'This list'],
];
const NEXT = { auto: 'dark', dark: 'light', light: 'auto' } as const;
const CHORD_MS = 1200;
let chordUntil = 0;

const isTyping = (target: EventTarget | null) =>
  target instanceof HTMLElement && target.matches('input, select, textarea, [contenteditable]');

export function onKey(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    document.getElementById('search')?.focus();
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const goes = PLACES[event.key];
  if (goes && event.timeStamp < chordUntil) {
    chordUntil = 0;
    go(goes);
  } else if (event.key === 'g') {
    chordUntil = event.timeStamp + CHORD_MS;
    return;
  } else if (event.key === '/') document.getElementById('search')?.focus();
  else if (event.key === '?') shortcutsOpen.value = true;
  else if (event.key === 'p') instant.peek() === null ? setPaused(!paused.peek()) : setPlaying(!playing.peek());
  else if (event.key === ',' || event.key === '.') void jump(event.key === ',' ? -1 : 1);
  else if (event.key === 'l') backToLive();
  else if (event.key === 't') setTheme(NEXT[theme.peek()]);
  else if (event.key.toLowerCase() === 'k') {
    if (!killOnDemand()) return;
  } else if (event.key === 'Escape' && param('inspect')) setParams({ inspect: null });
  else return;
  event.preventDefault();
}

export function Shortcuts() {
  const open = shortcutsOpen.value;
  const dialog = useModal(open);
  if (!open) return null;
  const close = () => {
    shortcutsOpen.value = false;
  };
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="shortcuts-title">
      <div class="dialog-body">
        <h2 id="shortcuts-title">Keyboard shortcuts</h2>
        <dl class="shortcuts">
          {LIST.map(([keys, what]) => (
            <>
              <dt key={what}>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </dt>
              <dd>{what}</dd>
            </>
          ))}
        </dl>
        <form method="dialog" class="row">
          <button class="primary">Close</button>
        </form>
      </div>
    </dialog>
  );
}
