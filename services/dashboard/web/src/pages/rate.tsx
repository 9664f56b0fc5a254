// How many jobs are generated: slider, number and presets set the same rate; beside it what the generator achieves.

import { useEffect, useRef, useState } from 'preact/hooks';
import { failureText, put } from '../lib/api';
import * as format from '../lib/format';
import { rate, stats } from '../lib/store';
import type { RateView } from '../lib/wire';
import { Loading, Panel } from '../ui/parts';
import { Orders } from '../ui/orders';

const SLIDER_STEPS = 1000;
const SEND_AFTER_MS = 250;
const MARKS = [0.1, 0.5, 1, 5, 10, 50];

export const toSlider = (value: number, low: number, high: number) =>
  Math.round((Math.log(value / low) / Math.log(high / low)) * SLIDER_STEPS);

/** Rounded as people would set it: two digits. */
export function fromSlider(at: number, low: number, high: number): number {
  const exact = low * (high / low) ** (at / SLIDER_STEPS);
  return Math.min(high, Math.max(low, Number(exact.toPrecision(2))));
}

export function RatePanel() {
  const current = rate.value;
  return (
    <Panel title="Job rate" class="span-4">
      <Orders>{current ? <Controls current={current} /> : <Loading rows={3} />}</Orders>
    </Panel>
  );
}

function Controls({ current }: { current: RateView }) {
  // What a person has just set stands until the service says the same.
  const [wanted, setWanted] = useState<number | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState('');
  const timer = useRef(0);
  const { min_per_minute: low, max_per_minute: high } = current;
  const shown = wanted ?? current.jobs_per_minute;

  useEffect(() => {
    if (wanted !== null && Math.abs(current.jobs_per_minute - wanted) < 1e-9) setWanted(null);
  }, [current.jobs_per_minute, wanted]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const send = async (value: number) => {
    try {
      rate.value = await put<RateView>('/rate', { jobs_per_minute: value });
      setProblem('');
    } catch (error) {
      setProblem(failureText(error));
      setWanted(null);
    }
  };
  const set = (value: number, afterMs = SEND_AFTER_MS) => {
    setWanted(value);
    setTyped(null);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => send(value), afterMs);
  };
  const enter = () => {
    if (typed === null) return;
    const value = Number(typed.replace(',', '.'));
    if (Number.isFinite(value) && value >= low && value <= high) set(value, 0);
    else setProblem(`The rate must be a number from ${low} to ${high} jobs a minute`);
  };
  const achieved = stats.value?.submitted_last_minute;
  return (
    <div class="stack">
      <div class="rate-now">
        <input
          aria-label="Jobs a minute"
          inputMode="decimal"
          value={typed ?? format.rate(shown)}
          aria-invalid={problem !== ''}
          aria-describedby="rate-problem"
          onInput={(event) => setTyped(event.currentTarget.value)}
          onBlur={enter}
          onKeyDown={(event) => {
            if (event.key === 'Enter') enter();
          }}
        />
        <span>jobs/min asked</span>
        <span class="quiet num grow right">
          {achieved === undefined || achieved === null ? '' : `${format.count(achieved)} in the last minute`}
        </span>
      </div>
      <input
        type="range"
        id="rate-slider"
        min={0}
        max={SLIDER_STEPS}
        step={1}
        value={toSlider(shown, low, high)}
        aria-label="Jobs a minute, logarithmic"
        aria-valuetext={`${format.rate(shown)} jobs a minute`}
        onInput={(event) => set(fromSlider(Number(event.currentTarget.value), low, high))}
      />
      <Scale low={low} high={high} />
      <Presets current={current} shown={shown} choose={(value) => set(value, 0)} />
      <p class="problem" id="rate-problem" role="alert">
        {problem || (wanted === null ? notInForce(current) : '')}
      </p>
    </div>
  );
}

/** What of the setting is not so. */
export function notInForce({ jobs_per_minute: asked, set_by: setBy, in_force_per_minute: inForce, refused }: RateView): string {
  if (typeof inForce !== 'number') return 'No generator runs: the rate applies as soon as one runs';
  if (refused) return `Refused, ${format.rate(inForce)} jobs/min stay in force: ${refused}`;
  return setBy && Math.abs(inForce - asked) > 1e-9 ? `${format.rate(inForce)} jobs/min in force so far` : '';
}

function Scale({ low, high }: { low: number; high: number }) {
  return (
    <div class="scale" aria-hidden="true">
      {MARKS.filter((mark) => mark >= low && mark <= high).map((mark) => (
        <span key={mark} style={{ left: `${toSlider(mark, low, high) / 10}%` }}>
          {mark}
        </span>
      ))}
    </div>
  );
}

function Presets({ current, shown, choose }: { current: RateView; shown: number; choose: (value: number) => void }) {
  return (
    <div class="presets" role="group" aria-label="Presets">
      {current.presets.map(({ name, jobs_per_minute }) => (
        <button key={name} aria-pressed={Math.abs(jobs_per_minute - shown) < 1e-9} onClick={() => choose(jobs_per_minute)}>
          {name} <small>{jobs_per_minute}</small>
        </button>
      ))}
    </div>
  );
}
