// The time machine: a slider over the last hour under the header of every page, marked clearly while it shows the past.

import { useEffect } from 'preact/hooks';
import { query } from '../lib/api';
import { now } from '../lib/connection';
import { clock, instant as dated, span } from '../lib/format';
import { instant, isRecording } from '../lib/instant';
import { backToLive, failures, goTo, jump, kept, loadKept, notice, playing, reach, setPlaying, speed, SPEEDS } from '../lib/past';
import { incidents, liveNow } from '../lib/store';
import { Icon } from './icons';

const STEP_MS = 1000;
/** What is kept reaches further from time to time. */
const LOOK_EVERY_MS = 30_000;
/** So much around the instant on display, or before now, goes into a recording. */
const RECORDED_MS = 600_000;

export function TimeBar() {
  void now.value;
  useEffect(() => {
    const look = () => {
      if (!isRecording && instant.peek() === null) loadKept().catch(() => {});
    };
    look();
    const timer = setInterval(look, LOOK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  const at = instant.value;
  const isPast = at !== null;
  return (
    <section class={`time ${isPast ? 'past' : ''}`} aria-label="Time machine">
      <div class="row controls">
        <button class="icon" aria-label="Previous incident" title="To just before the previous incident (,)" onClick={() => void jump(-1)}>
          <Icon name="back" />
        </button>
        <button
          class="icon"
          disabled={!isPast}
          aria-pressed={playing.value}
          aria-label="Play"
          title="Play from this instant on (p)"
          onClick={() => setPlaying(!playing.value)}
        >
          <Icon name={playing.value ? 'pause' : 'play'} />
        </button>
        <button class="icon" disabled={!isPast} aria-label="Next incident" title="To just before the next incident (.)" onClick={() => void jump(1)}>
          <Icon name="forth" />
        </button>
      </div>
      <Slider />
      <div class="row where">
        {isPast && <Instant at={at} />}
        {isPast && <Speed />}
        {!isPast && <span class="quiet">Live</span>}
        {isPast && !isRecording && (
          <button class="primary" onClick={backToLive} title="Back to live (l)">
            Back to live
          </button>
        )}
        <a
          class="button"
          href={`/compare${query({ a: at === null ? null : Math.round(at) })}`}
          title={at === null ? 'Two instants of the last hour side by side' : 'This instant and another one side by side'}
        >
          Compare
        </a>
        {!isRecording && <Record at={at} />}
      </div>
      {notice.value && (
        <p class="notice" role="status">
          {notice.value}
        </p>
      )}
    </section>
  );
}

function Instant({ at }: { at: number }) {
  return (
    <span class="instant">
      <b role="status">{isRecording ? `Recording of ${dated(at).slice(0, 10)}` : 'The past, orders are off'}</b>{' '}
      <time class="num" dateTime={new Date(at).toISOString()} title={dated(at)}>
        {clock(at)}
      </time>
      {!isRecording && <span class="num"> {span(liveNow() - at)} ago</span>}
    </span>
  );
}

function Slider() {
  const at = instant.value;
  const ends = reach.value;
  const to = Math.floor(isRecording ? (ends?.to ?? 0) : liveNow());
  const begin = Math.min(ends?.from ?? to, to - STEP_MS);
  // Steps count from the beginning. While it is live they lead to now, which the handle must reach.
  const from = at === null ? to - Math.ceil((to - begin) / STEP_MS) * STEP_MS : begin;
  const shown = at ?? to;
  const known = at === null ? (incidents.value ?? []) : failures.value;
  const choose = (value: number) => {
    setPlaying(false);
    if (!isRecording && value > to - 2 * STEP_MS) backToLive();
    else void goTo(value);
  };
  return (
    <div class="slider">
      <input
        type="range"
        id="time-slider"
        min={from}
        max={to}
        step={STEP_MS}
        value={shown}
        disabled={!kept.value?.segments.length}
        aria-label="Instant on display"
        aria-valuetext={at === null ? 'now' : `${clock(at)}, ${span(to - at)} ${isRecording ? 'before the end' : 'ago'}`}
        onInput={(event) => choose(Number(event.currentTarget.value))}
      />
      <span class="marks" aria-hidden="true">
        {known
          .filter((incident) => incident.began_ms >= from && incident.began_ms <= to)
          .map((incident) => (
            <i key={incident.id} style={{ left: `${((incident.began_ms - from) / (to - from)) * 100}%` }} />
          ))}
      </span>
    </div>
  );
}

function Speed() {
  return (
    <label>
      <span class="hidden-text">Speed</span>
      <select value={String(speed.value)} onChange={(event) => (speed.value = Number(event.currentTarget.value))}>
        {SPEEDS.map((times) => (
          <option key={times} value={String(times)}>
            {times}×
          </option>
        ))}
      </select>
    </label>
  );
}

/** The last ten minutes as a file, or the ten around the instant on display. */
function Record({ at }: { at: number | null }) {
  const to = at === null ? null : Math.round(at + RECORDED_MS / 2);
  const range = to === null ? { last_ms: RECORDED_MS } : { from_ms: to - RECORDED_MS, to_ms: to };
  return (
    <a
      class="button"
      download
      href={`/api/v1/recording${query(range)}`}
      title={`${at === null ? 'The last 10 minutes' : '10 minutes around this instant'} as one file that shows this page anywhere, without a network`}
    >
      <Icon name="download" />
      Record
    </a>
  );
}
