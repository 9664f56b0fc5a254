// The one WebSocket: opens it, notices when it falls silent, and opens it again with growing pauses.

import { effect, signal } from '@preact/signals';
import { askSession, signedOut } from './session';
import { onResync, receive } from './store';

export type Link = 'connecting' | 'live' | 'lost';
export const link = signal<Link>('connecting');
/** When the last frame came, in milliseconds since the page was opened; 0 before the first. */
export const lastFrameAt = signal(0);
/** Milliseconds since the page was opened, whatever this machine's clock does. Ticks four times a second, for ages on display. */
export const now = signal(performance.now());

const SILENCE_MS = 3000;
const FIRST_RETRY_MS = 300;
const LONGEST_RETRY_MS = 5000;

let socket: WebSocket | null = null;
let openedAt = 0;
let retryMs = FIRST_RETRY_MS;
let retryTimer = 0;

/** Without a service: only time passes. */
export function startRecording(): void {
  link.value = 'live';
  setInterval(tick, 250);
}

export function start(): void {
  onResync(open);
  effect(() => {
    if (signedOut.value) drop();
  });
  void askSession().then(open);
  setInterval(tick, 250);
}

function tick(): void {
  now.value = performance.now();
  const heard = Math.max(lastFrameAt.peek(), openedAt);
  if (socket && now.peek() - heard > SILENCE_MS) lose();
}

function open(): void {
  clearTimeout(retryTimer);
  retryTimer = 0;
  drop();
  if (signedOut.peek()) return;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const fresh = new WebSocket(`${scheme}://${location.host}/api/v1/ws`);
  fresh.binaryType = 'arraybuffer';
  fresh.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
    lastFrameAt.value = performance.now();
    link.value = 'live';
    retryMs = FIRST_RETRY_MS;
    receive(event.data);
  };
  fresh.onclose = () => {
    if (socket === fresh) lose();
  };
  socket = fresh;
  openedAt = performance.now();
}

function drop(): void {
  if (!socket) return;
  const old = socket;
  socket = null;
  old.onmessage = null;
  old.onclose = null;
  old.close();
}

function lose(): void {
  drop();
  link.value = 'lost';
  if (retryTimer) return;
  // Half of it random: many pages must not come back at the same instant.
  retryTimer = window.setTimeout(
    // A refused WebSocket does not say why: the session may be over.
    () => void askSession().then(open),
    retryMs * (0.5 + Math.random() / 2),
  );
  retryMs = Math.min(retryMs * 1.7, LONGEST_RETRY_MS);
}

export function reconnectNow(): void {
  retryMs = FIRST_RETRY_MS;
  open();
}
