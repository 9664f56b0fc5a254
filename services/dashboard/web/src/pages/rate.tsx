// How many jobs are generated: a share of the cluster, or a rate that slider, number and presets set; beside it what the generator achieves.

import { useEffect, useRef, useState } from 'preact/hooks';
import { failureText, put } from '../lib/api';
import * as format from '../lib/format';
import { rate, stats } from '../lib/store';
import type { RateRequest, RateView } from '../lib/wire';
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
  const [wantedLoad, setWantedLoad] = useState<number | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const [problem, setProblem] = useState('');
  const timer = useRef(0);
  const { min_per_minute: low, max_per_minute: high } = current;
  const shown = wanted ?? current.jobs_per_minute;
  const load = wantedLoad ?? (wanted === null ? (current.load_percent ?? null) : null);

  useEffect(() => {
    if (wanted !== null && Math.abs(current.jobs_per_minute - wanted) < 1e-9) setWanted(null);
  }, [current.jobs_per_minute, wanted]);
  useEffect(() => {
    if (current.load_percent === wantedLoad) setWantedLoad(null);
  }, [current.load_percent, wantedLoad]);
  useEffect(() => () => clearTimeout(timer.current), []);

  const send = async (asked: RateRequest) => {
    try {
      rate.value = await put<RateView>('/rate', asked);
      setProblem('');
    } catch (error) {
      setProblem(failureText(error));
      setWanted(null);
      setWantedLoad(null);
    }
  };
  const set = (value: number, afterMs = SEND_AFTER_MS) => {
    setWanted(value);
    setWantedLoad(null);
    setTyped(null);
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => send({ jobs_per_minute: value }), afterMs);
  };
  const setLoad = (percent: number) => {
    setWanted(null);
    setWantedLoad(percent);
    setTyped(null);
    clearTimeout(timer.current);
    void send({ load_percent: percent });
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
        <span>{load === null ? 'jobs/min asked' : `jobs/min for ${load} % load`}</span>
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
      <Loads current={current} load={load} choose={setLoad} />
      <Presets current={current} shown={load === null ? shown : null} choose={(value) => set(value, 0)} />
      <p class="problem" id="rate-problem" role="alert">
        {problem || (wanted === null ? notInForce(current) : '')}
      </p>
    </div>
  );
}

/** What of the setting is not so. */
export function notInForce(view: RateView): string {
  const { in_force: inForce, refused } = view;
  if (typeof inForce !== 'string') return 'No generator runs: the rate applies as soon as one runs';
  if (refused) return `Refused, the generator keeps to ${inForce}: ${refused}`;
  const isOther =
    (view.load_percent ?? null) !== (view.in_force_load_percent ?? null) ||
    (typeof view.load_percent !== 'number' && Math.abs((view.in_force_per_minute ?? 0) - view.jobs_per_minute) > 1e-9);
  return view.set_by && isOther ? `The generator still keeps to ${inForce}` : '';
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

/** Shares of the cluster's GPU time. */
function Loads({ current, load, choose }: { current: RateView; load: number | null; choose: (percent: number) => void }) {
  const gpus = current.in_force_gpus;
  return (
    <div class="presets" role="group" aria-label="Load, as a share of the cluster's GPU time">
      {current.loads.map((percent) => (
        <button key={percent} aria-pressed={percent === load} onClick={() => choose(percent)}>
          {percent} %
        </button>
      ))}
      <span class="quiet num">{gpus ? `of ${format.plural(gpus, 'GPU')}` : 'of all GPUs'}</span>
    </div>
  );
}

function Presets({ current, shown, choose }: { current: RateView; shown: number | null; choose: (value: number) => void }) {
  return (
    <div class="presets" role="group" aria-label="Presets">
      {current.presets.map(({ name, jobs_per_minute }) => (
        <button
          key={name}
          aria-pressed={shown !== null && Math.abs(jobs_per_minute - shown) < 1e-9}
          onClick={() => choose(jobs_per_minute)}
        >
          {name} <small>{jobs_per_minute}</small>
        </button>
      ))}
    </div>
  );
}
