// Notifications of the browser for new incidents, for those who asked for them on this browser; only while nobody looks at the page.

import { effect, signal } from '@preact/signals';
import { failureText } from './api';
import { count } from './format';
import { instant, isRecording } from './instant';
import { go } from './route';
import { incidents, liveNow } from './store';
import type { IncidentView } from './wire';

const KEY = 'faultline.notify';
/** Many at once are one notification. */
const GATHER_MS = 3000;

export const canNotify = !isRecording && typeof Notification !== 'undefined';

function stored(): boolean {
  try {
    return localStorage.getItem(KEY) === 'on';
  } catch {
    return false;
  }
}

export const notifies = signal(canNotify && stored() && Notification.permission === 'granted');

/** Changes the setting; says what came of it. */
export async function setNotifies(next: boolean): Promise<string> {
  if (next && Notification.permission !== 'granted') {
    try {
      await Notification.requestPermission();
    } catch (error) {
      return `The browser cannot notify: ${failureText(error)}`;
    }
  }
  notifies.value = next && Notification.permission === 'granted';
  try {
    localStorage.setItem(KEY, notifies.value ? 'on' : 'off');
  } catch {
    // Without storage the choice lasts as long as the page.
  }
  if (next && !notifies.value) return 'The browser does not allow notifications for this address: allow them in its settings for this page';
  return notifies.value ? 'New incidents are notified while this page is in the background' : 'Incidents are no longer notified';
}

/** What began before is not news. */
let since = 0;
const seen = new Set<string>();
let gathered: IncidentView[] = [];
let timer = 0;

function tell(): void {
  timer = 0;
  const fresh = gathered;
  gathered = [];
  const [first] = fresh;
  if (!first || (!document.hidden && document.hasFocus())) return;
  const title = fresh.length === 1 ? first.headline : `${count(fresh.length)} incidents`;
  const body = fresh.length === 1 ? first.story.at(-1)?.text ?? '' : fresh.map(({ headline }) => headline).join('\n');
  const shown = new Notification(title, { body, tag: first.id });
  shown.onclick = () => {
    focus();
    go(fresh.length === 1 ? `/incidents/${first.id}` : '/incidents');
    shown.close();
  };
}

export function watchIncidents(): void {
  if (!canNotify) return;
  since = liveNow();
  effect(() => {
    const known = incidents.value ?? [];
    if (!notifies.value || instant.value !== null) return;
    const fresh = known.filter(({ id, began_ms: began }) => began > since && !seen.has(id));
    for (const incident of fresh) seen.add(incident.id);
    gathered.push(...fresh);
    if (fresh.length && !timer) timer = window.setTimeout(tell, GATHER_MS);
  });
}
