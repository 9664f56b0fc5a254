// Orders to a node, wherever they are given. What is told afterwards is what the service says has happened.

import { post } from '../lib/api';
import type { FaultView } from '../lib/wire';
import { order } from './toast';

const FAULT_MS = 10_000;

export const pathOf = (node: string, what: string) => `/nodes/${encodeURIComponent(node)}/${what}`;

/** What was asked for is said to be so only once the leading scheduler says the same. */
export function drain(node: string, what: 'drain' | 'undrain', done: string): Promise<boolean> {
  const body = what === 'drain' ? { reason: 'drained from the dashboard' } : undefined;
  return order(
    () => post<{ in_force: boolean }>(pathOf(node, what), body),
    (reply) => (reply.in_force ? done : `${what} of ${node} is stored; no scheduler that knows the node has answered yet`),
  );
}

/** Breaks it for 10 s. */
export const breakNode = (node: string, kind: string, more = {}) =>
  order(() => post<FaultView>(pathOf(node, 'fault'), { kind, for_ms: FAULT_MS, ...more }), faultText);

export const restore = (node: string) => order(() => post<FaultView>(pathOf(node, 'restore'), {}), faultText);

function faultText({ node, worker, kind, outcome }: FaultView): string {
  if (outcome) return `${node}: ${outcome}`;
  if (kind === 'restore') return `${worker} found no fault to end on ${node}`;
  return `${kind} ordered on ${node}; ${worker} has not confirmed it yet. Its events show when it does`;
}
