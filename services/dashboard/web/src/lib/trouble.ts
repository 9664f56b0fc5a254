// What does not answer, since when, and what follows from it: as much as the service knows, and no more.

import { plural } from './format';
import type { StatsReply } from './wire';

export interface Trouble {
  what: string;
  /** Since when, where that is known. */
  sinceMs: number | null;
  follows: string;
  bad: boolean;
}

type Known = Pick<StatsReply, 'nats_connected' | 'nats_silent_since_ms' | 'stale_since_ms' | 'leader' | 'nodes_unjudged'>;

/** Without NATS nothing else can be known: a scheduler that cannot be asked is not said to be silent. */
export function troubleOf(stats: Known, now: number): Trouble | null {
  const silent = stats.nats_silent_since_ms ?? (stats.nats_connected ? undefined : (stats.stale_since_ms ?? now));
  if (silent !== undefined)
    return {
      what: 'NATS has not answered',
      sinceMs: silent,
      follows: 'running jobs continue, nothing is placed or committed until NATS answers. The figures are older.',
      bad: true,
    };
  if (stats.stale_since_ms !== undefined)
    return {
      what: `NATS answers, and the scheduler${stats.leader ? ` (${stats.leader} led last)` : ''} has not answered`,
      sinceMs: stats.stale_since_ms,
      follows: 'running jobs continue and commit, nothing is placed until a scheduler leads.',
      bad: false,
    };
  if (stats.nodes_unjudged > 0)
    return {
      what: `${plural(stats.nodes_unjudged, 'node')} sent no heartbeat for more than 20 s, and no verdict came`,
      sinceMs: null,
      follows: 'the fault detector may not run. Jobs of dead nodes are then placed again after 15 s, by the ack timeout of JetStream.',
      bad: false,
    };
  return null;
}
