// One incident as a card: what failed and by whom, how it was noticed, where the work went, how it ended.

import { clock, count, instant, plural, span } from '../lib/format';
import { replay } from '../lib/past';
import { inspect } from '../lib/route';
import { serviceNow } from '../lib/store';
import type { IncidentView, Step, StepKind } from '../lib/wire';
import { Icon } from './icons';
import { State } from './parts';

const SHAPE: Record<StepKind, string> = {
  began: 'fault',
  noticed: 'suspect',
  given_up: 'gone',
  interrupted: 'lost',
  placed_again: 'running',
  leader: 'leader',
  mended: 'alive',
  recovered: 'alive',
  ended: 'committed',
};

/** A window of the timeline around an incident. */
const AROUND_MS = 5000;
const timelineLink = ({ began_ms: began, recovered_ms: recovered }: IncidentView) =>
  `/timeline?from=${began - AROUND_MS}&to=${(recovered ?? Math.round(serviceNow())) + AROUND_MS}&affected=true`;

/** What became of the jobs, in one line; empty when none was interrupted. */
export function balance(incident: IncidentView): string {
  const { interrupted, waiting } = incident;
  if (!interrupted) return '';
  const parts: [number, string][] = [
    [waiting, 'waiting'],
    [incident.placed_again, 'placed again'],
    [incident.committed, 'committed'],
    [incident.given_up, 'given up'],
    [incident.cancelled, 'cancelled'],
    [incident.unknown, 'ended, how is not known any more'],
  ];
  const told = parts.filter(([many]) => many > 0).map(([many, what]) => `${count(many)} ${what}`);
  return `${plural(interrupted, 'job')} moved: ${told.join(', ')}${waiting ? '' : ', 0 lost'}`;
}

export function IncidentCard({ incident, open = false }: { incident: IncidentView; open?: boolean }) {
  const { began_ms: began, state, story } = incident;
  const jobs = balance(incident);
  return (
    <article class="incident" aria-label={incident.headline}>
      <header>
        <State of={state} />
        <a class="what break" href={`/incidents/${incident.id}`}>
          {incident.headline}
        </a>
        <time class="quiet num" dateTime={new Date(began).toISOString()} title={instant(began)}>
          {clock(began)}
        </time>
      </header>
      {jobs && <p class={`balance ${incident.waiting ? 'is-warn' : 'is-good'}`}>{jobs}</p>}
      <details open={open}>
        <summary>
          {incident.noticed_after_ms === null || incident.noticed_after_ms === undefined
            ? incident.kind !== 'fault'
              ? 'Seen by its first sign'
              : incident.nodes_total
                ? 'No node was judged'
                : 'What happened'
            : `Noticed after ${span(incident.noticed_after_ms)}`}
          {incident.placed_again_after_ms !== null &&
            incident.placed_again_after_ms !== undefined &&
            `, all placed again after ${span(incident.placed_again_after_ms)}`}
        </summary>
        <ol class="story">
          {story.map((step) => (
            <StoryStep key={`${step.kind}-${step.at_ms}`} step={step} />
          ))}
        </ol>
        <p class="row">
          <button class="link" title="Shows every page as it was just before, and plays on from there" onClick={() => void replay(incident)}>
            Go back to it
          </button>
          <a href={timelineLink(incident)}>Show it on the timeline</a>
          {incident.nodes.slice(0, 4).map((node) => (
            <button class="link" key={node} onClick={() => inspect(node)}>
              {node}
            </button>
          ))}
          {incident.nodes_total > 4 && <span class="quiet">and {count(incident.nodes_total - 4)} more</span>}
        </p>
      </details>
    </article>
  );
}

function StoryStep({ step }: { step: Step }) {
  return (
    <li>
      <span class="quiet num">{step.after_ms ? `+${span(step.after_ms)}` : clock(step.at_ms)}</span>
      <Icon name={SHAPE[step.kind]} size={12} />
      <span class="break">{step.text}</span>
    </li>
  );
}
