// Which instant is on display, and whether the page reads from a file. Everything else of the time machine is in `past`; this stands apart
// because the connection, requests and the address ask it too.

import { computed, signal } from '@preact/signals';

/** In the service's time, Unix milliseconds; null: now. */
export const instant = signal<number | null>(null);

/** The page was opened as a recording, without a service to ask. */
export const isRecording = typeof document !== 'undefined' && document.getElementById('recording') !== null;

/** Orders are for the cluster as it is now. */
export const ordersOff = computed(() => isRecording || instant.value !== null);

export const whyOff = isRecording ? 'A recording takes no orders' : 'This is the past: go back to live to give orders';
