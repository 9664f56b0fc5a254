// One event in a few words; its time leads to that instant on the timeline.

import { detailOf } from '../lib/event-words';
import { clock, instant, words } from '../lib/format';
import { inspect } from '../lib/route';
import type { NumberedEvent } from '../lib/wire';
import { Icon } from './icons';

const SHAPE: Record<string, string> = {
  job_placed: 'running',
  attempt_failed: 'dead',
  attempt_lost: 'lost',
  attempt_superseded: 'superseded',
  job_dead: 'dead',
  job_cancelled: 'cancelled',
  job_abandoned: 'abandoned',
  node_joined: 'alive',
  node_left: 'left',
  node_suspect: 'suspect',
  node_gone: 'gone',
  node_dead: 'dead',
  node_recovered: 'alive',
  node_drained: 'draining',
  node_undrained: 'alive',
  fault_began: 'fault',
  fault_ended: 'committed',
  leader_elected: 'leader',
  leader_lost: 'leader',
  rate_changed: 'rate',
  workers_scaled: 'rate',
  policy_failed: 'lost',
  policy_recovered: 'alive',
};
const TONES: Record<string, string> = { error: 'is-bad', warn: 'is-warn', info: 'is-idle', debug: 'is-idle' };

export const shapeOf = (kind: string) => SHAPE[kind] ?? 'info';
export const toneOfEvent = (event: NumberedEvent) =>
  event.kind === 'node_recovered' || event.kind === 'node_joined' ? 'is-good' : (TONES[event.level] ?? '');

/** A window of the timeline around an instant. */
export const instantLink = (event: NumberedEvent) =>
  `/timeline?at=${event.at_ms}${event.node ? `&focus=${encodeURIComponent(event.node)}` : ''}`;

export function EventLine({ event, withNode = true }: { event: NumberedEvent; withNode?: boolean }) {
  return (
    <li>
      <a href={instantLink(event)}>
        <time dateTime={new Date(event.at_ms).toISOString()} title={instant(event.at_ms)}>
          {clock(event.at_ms)}
        </time>
      </a>
      <Icon name={shapeOf(event.kind)} size={12} class={toneOfEvent(event)} />
      <span class="break">
        {withNode && event.node && (
          <>
            <button class="link" onClick={() => inspect(event.node!)}>
              {event.node}
            </button>{' '}
          </>
        )}
        {event.job && (
          <>
            {words(event.kind)}{' '}
            <a href={`/jobs/${event.job}`} class="mono">
              {event.job.slice(-6)}
            </a>
            {': '}
          </>
        )}
        {detailOf(event, withNode)}
      </span>
    </li>
  );
}
