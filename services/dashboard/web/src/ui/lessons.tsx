// The drawer with the lessons: a prediction, a button that breaks something, and the answer as the incident tells it. Where one stands is in the
// address: `lesson`, `guess`, when it `began` and `on` what, and which are `learned`.

import { useEffect, useRef, useState } from 'preact/hooks';
import { failureText, get } from '../lib/api';
import { span } from '../lib/format';
import { ordersOff, whyOff } from '../lib/instant';
import { deviationsOf, LESSONS, rightChoice, type Lesson } from '../lib/lessons';
import { param, setParams } from '../lib/route';
import { frame, liveNow } from '../lib/store';
import type { IncidentsPage, IncidentView } from '../lib/wire';
import { busiest } from './demo';
import { useLoad } from './hooks';
import { Icon } from './icons';
import { toast } from './toast';

const learned = () => param('learned').split(' ').filter(Boolean);
const restart = { guess: null, began: null, on: null };

export const openLessons = () => setParams({ inspect: null, lesson: LESSONS.find(({ id }) => !learned().includes(id))?.id ?? LESSONS[0]!.id, ...restart });
const open = (id: string) => setParams({ lesson: id, ...restart });
const close = () => setParams({ lesson: null, ...restart });

export function Lessons() {
  const lesson = LESSONS.find(({ id }) => id === param('lesson'));
  if (!lesson || param('inspect')) return null;
  return <LessonDrawer lesson={lesson} key={lesson.id} />;
}

function LessonDrawer({ lesson }: { lesson: Lesson }) {
  const box = useRef<HTMLElement>(null);
  useEffect(() => box.current?.focus(), []);
  const known = learned();
  const at = LESSONS.indexOf(lesson);
  const next = LESSONS[at + 1];
  return (
    <aside class="drawer lesson" ref={box} tabIndex={-1} aria-label="Lessons">
      <header>
        <h2 class="grow">Lessons</h2>
        <span class="quiet num">
          {known.length} of {LESSONS.length} done
        </span>
        <button class="icon" aria-label="Close the lessons" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div class="inside">
        <nav aria-label="All lessons">
          <ol class="stack tight">
            {LESSONS.map(({ id, title }, number) => (
              <li key={id} class="row">
                <button class="link" aria-current={id === lesson.id ? 'step' : undefined} onClick={() => open(id)}>
                  {number + 1}. {title}
                </button>
                {known.includes(id) && (
                  <span class="is-good">
                    <Icon name="committed" size={12} /> <span class="hidden-text">done</span>
                  </span>
                )}
              </li>
            ))}
          </ol>
        </nav>
        <section aria-label={lesson.title}>
          <h3>{lesson.title}</h3>
          <p>{lesson.goal}</p>
        </section>
        {lesson.id === 'frozen' && <Phi />}
        <Predict lesson={lesson} />
        {param('guess') && <Break lesson={lesson} />}
        {param('began') && <Answer lesson={lesson} />}
        {known.includes(lesson.id) && next && (
          <button class="primary" onClick={() => open(next.id)}>
            Next: {next.title}
          </button>
        )}
      </div>
    </aside>
  );
}

function Predict({ lesson }: { lesson: Lesson }) {
  const guess = param('guess');
  return (
    <fieldset class="orders stack" disabled={param('began') !== ''}>
      <legend>
        <b>1. Predict.</b> {lesson.question}
      </legend>
      <div class="row">
        {lesson.choices.map(({ text }, at) => (
          <button key={text} aria-pressed={guess === String(at + 1)} onClick={() => setParams({ guess: String(at + 1) })}>
            {text}
          </button>
        ))}
      </div>
    </fieldset>
  );
}

function Break({ lesson }: { lesson: Lesson }) {
  const [isBusy, setBusy] = useState(false);
  // Named once: the busiest node changes from moment to moment.
  const [node, setNode] = useState(busiest);
  const shown = frame.value;
  useEffect(() => {
    if (node === null) setNode(busiest());
  }, [shown]);
  const began = param('began');
  const begin = async () => {
    setBusy(true);
    setParams({ began: String(Math.round(liveNow())), on: null });
    try {
      setParams({ on: await lesson.begin(node ?? '') });
    } catch (error) {
      toast(failureText(error), true);
      setParams({ began: null });
    }
    setBusy(false);
  };
  const missing = lesson.action.includes('{node}') && node === null;
  return (
    <section class="stack" aria-label="Break it">
      <p>
        <b>2. Break it.</b> You predicted: {lesson.choices[Number(param('guess')) - 1]?.text}.
      </p>
      <div class="row">
        <button class="danger" disabled={ordersOff.value || isBusy || missing || began !== ''} title={ordersOff.value ? whyOff : undefined} onClick={begin}>
          <Icon name="fault" size={12} />
          {lesson.action.replace('{node}', node ?? 'a busy node')}
        </button>
      </div>
      {missing && shown && <p class="is-warn">No node runs a job now: choose a load on the overview.</p>}
    </section>
  );
}

/** Of what was broken, so that faults that come by themselves meanwhile are not taken for it. */
const isOurs = (incident: IncidentView, began: number) => incident.began_ms >= began - 500 && / by (experiment .* of )?the dashboard$/.test(incident.headline);

function Answer({ lesson }: { lesson: Lesson }) {
  const [began, on] = [Number(param('began')), param('on')];
  const { data } = useLoad(`lesson ${began} ${on}`, (signal) => get<IncidentsPage>('/incidents?limit=50', signal), 1000);
  const found = on && data ? data.items.filter((incident) => isOurs(incident, began) && lesson.isAbout(incident, on)) : [];
  const value = found.length ? lesson.measure(found) : null;
  useEffect(() => {
    if (value !== null && !learned().includes(lesson.id)) setParams({ learned: [...learned(), lesson.id].join(' ') });
  }, [value]);
  if (value === null)
    return (
      <section aria-label="Measured" role="status">
        <b>3. Measured.</b> {found.length ? 'It has happened, and is not over yet …' : 'Waiting for the incident …'}
      </section>
    );
  const right = rightChoice(lesson, value) === Number(param('guess')) - 1;
  return (
    <section class="stack" aria-label="Measured" role="status">
      <p>
        <b>3. Measured:</b> <b class="measured">{lesson.show(value)}</b>{' '}
        <span class={right ? 'is-good' : 'is-warn'}>{right ? 'as you predicted' : 'not what you predicted'}</span>
      </p>
      <p>{lesson.also(found[0]!)}</p>
      <p>
        <b>Why:</b> {lesson.why}
      </p>
      <p class="row">
        <a href={`/incidents/${found[0]!.id}`}>The incident that says so</a>
        <button class="link" onClick={() => setParams(restart)}>
          Once more
        </button>
      </p>
    </section>
  );
}

/** What the detector's configuration and the rhythm of a healthy node make of a threshold; of the defaults, for none of it is pushed. */
const RHYTHM = { meanMs: 1000, deviationMs: 150, graceMs: 500 };
const DEFAULT_PHI = 8;

function Phi() {
  const [phi, setPhi] = useState(DEFAULT_PHI);
  const silence = RHYTHM.meanMs + RHYTHM.graceMs + deviationsOf(phi) * RHYTHM.deviationMs;
  const missesOne = silence < 2 * RHYTHM.meanMs + RHYTHM.deviationMs;
  return (
    <section class="stack" aria-label="Threshold of phi">
      <label>
        Suspect at phi <b class="num">{phi}</b>
        <input type="range" min={1} max={16} step={1} value={phi} onInput={(event) => setPhi(Number(event.currentTarget.value))} />
      </label>
      <p>
        A silence of <b class="num">{span(silence)}</b> is suspected, and one punctual heartbeat in <b class="num">10{superscript(phi)}</b> raises a false alarm.{' '}
        {missesOne ? 'One lost heartbeat is enough for another.' : 'One lost heartbeat is not enough; two are.'}
      </p>
      <p class="quiet">
        Computed for heartbeats every second with a deviation of 150 ms and 500 ms of grace, as in the defaults. The cluster's own threshold is{' '}
        <code>suspect_phi</code>, 8 unless set.
      </p>
    </section>
  );
}

const superscript = (value: number) => [...String(value)].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('');
