// The promise and the last failure, under the header of every page.

import { count, plural, span } from '../lib/format';
import { now } from '../lib/connection';
import { incidents, serviceNow, stats } from '../lib/store';
import { Icon } from './icons';

export function Strip() {
  void now.value;
  const s = stats.value;
  if (!s) return null;
  const { jobs_lost: lost, jobs_ended_twice: twice, jobs_given_up: givenUp } = s;
  const isGood = lost === 0 && twice === 0;
  const known = incidents.value;
  const last = known?.[0];
  return (
    <section class="strip" aria-label="Jobs and the last incident">
      <span class="num">{plural(s.ledger.submitted, 'job')}</span>
      <span class={lost === null ? 'is-idle' : isGood ? 'is-good' : 'is-bad'} title="As `faultline audit` counts them">
        {lost !== null && <Icon name={isGood ? 'committed' : 'dead'} size={12} />}{' '}
        {lost === null ? 'losses not judged yet' : `${count(lost)} lost, ${count(twice)} twice`}
      </span>
      {givenUp > 0 && <span title="They failed too often, or no node can run them">{count(givenUp)} given up</span>}
      {last ? (
        <a class="last" href={`/incidents/${last.id}`}>
          <Icon name={last.state === 'recovered' ? 'committed' : 'fault'} size={12} class={last.state === 'recovered' ? 'is-good' : 'is-warn'} />{' '}
          <span class="break">{last.headline}</span>{' '}
          <span class="quiet num">
            {span(serviceNow() - last.began_ms)} ago,{' '}
            {last.recovered_ms ? `recovered after ${span(last.recovered_ms - last.began_ms)}` : 'ongoing'}
          </span>
        </a>
      ) : (
        <span class="last quiet">{known ? 'no incident in the last hour' : ''}</span>
      )}
    </section>
  );
}
