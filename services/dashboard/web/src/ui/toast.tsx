// A short answer to an order, at the foot of the page; read out too.

import { signal } from '@preact/signals';
import { say } from '../lib/announce';
import { failureText } from '../lib/api';

const shown = signal<{ text: string; bad: boolean } | null>(null);
let timer = 0;

export function toast(text: string, bad = false): void {
  shown.value = { text, bad };
  say(text);
  clearTimeout(timer);
  timer = window.setTimeout(
    () => {
      shown.value = null;
    },
    bad ? 12_000 : 5000,
  );
}

/** Runs an order and tells how it went. True when it went well. */
export async function order<T>(action: () => Promise<T>, done: string | ((answer: T) => string)): Promise<boolean> {
  try {
    const answer = await action();
    toast(typeof done === 'string' ? done : done(answer));
    return true;
  } catch (error) {
    toast(failureText(error), true);
    return false;
  }
}

export function Toast() {
  const current = shown.value;
  if (!current) return null;
  return (
    <div class="toast">
      <span class="break">
        {current.bad ? 'Not done: ' : ''}
        {current.text}
      </span>
      <button
        onClick={() => {
          shown.value = null;
        }}
      >
        Close
      </button>
    </div>
  );
}
