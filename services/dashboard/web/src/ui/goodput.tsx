// Where GPU time went in the last minutes: one bar in which each GPU-instant is once, and in words what failures cost.

import { get } from '../lib/api';
import { fixed } from '../lib/format';
import { instant, isRecording } from '../lib/instant';
import { param, setParams } from '../lib/route';
import type { ClassTime, GoodputView } from '../lib/wire';
import { useLoad } from './hooks';
import { Empty, Failed, Loading, Panel, Segmented, Twin } from './parts';

const EVERY_MS = 10_000;
const WINDOWS = [
  ['300000', '5 min'],
  ['900000', '15 min'],
  ['3600000', '1 h'],
] as const;
type Window = (typeof WINDOWS)[number][0];

const COLOURS: Record<string, string> = {
  productive: '--bar-committed',
  open: '--bar-running',
  lost: '--warm-5',
  stalled: '--warm-3',
  down: '--cell-dead',
  down_unseen: '--cell-gone',
  quarantined: '--cell-suspect',
  draining: '--bar-cancelled',
};

/** Booked for other reasons, or free. */
const colourOf = ({ class: name, code }: ClassTime) => COLOURS[name] ?? (code.startsWith('B') ? '--bar-superseded' : '--cell-left');

/** The name of a class or cause as docs/goodput.md has it, for reading: what is lost here is work, not an attempt. */
const plain = (name: string) => name.replaceAll('_', ' ');

/** In the unit that suits it. */
function gpuTime(seconds: number): string {
  if (seconds >= 3600) return `${fixed(seconds / 3600, 1)} GPU-hours`;
  return seconds >= 120 ? `${fixed(seconds / 60, 1)} GPU-minutes` : `${fixed(seconds, 1)} GPU-seconds`;
}

/** Of now only: the history of GPU time is the leader's, not this page's. */
export function GoodputPanel() {
  const asked = param('gpu_time');
  const window = WINDOWS.find(([ms]) => ms === asked)?.[0] ?? '3600000';
  const isLive = instant.value === null && !isRecording;
  const load = (signal: AbortSignal) => get<GoodputView>(`/goodput?last_ms=${window}`, signal);
  const page = useLoad(isLive ? window : null, load, EVERY_MS);
  if (!isLive) return null;
  const choose = (ms: Window) => setParams({ gpu_time: ms === '3600000' ? null : ms });
  const choice = <Segmented label="How far back" value={window} options={WINDOWS} onChange={choose} />;
  return (
    <Panel title="GPU time" aside={choice} id="gpu-time">
      {page.data ? <Accounted view={page.data} /> : page.error ? <Failed what="Where GPU time went cannot be shown" error={page.error} retry={page.reload} /> : <Loading rows={2} />}
    </Panel>
  );
}

function Accounted({ view }: { view: GoodputView }) {
  if (!view.gpu_seconds) return <Empty title="No GPU time is accounted for yet">The scheduler that leads stores where it went every five seconds.</Empty>;
  const there = view.classes.filter((one) => one.gpu_seconds > 0);
  return (
    <>
      {view.words.map((sentence) => (
        <p key={sentence}>{sentence}</p>
      ))}
      <div class="parts-bar" aria-hidden="true">
        {there.map((one) => (
          <i key={one.class} title={`${plain(one.class)}: ${fixed(100 * one.share, 1)} %`} style={{ flexGrow: one.share, background: `var(${colourOf(one)})` }} />
        ))}
      </div>
      <ul class="parts-key">
        {there.map((one) => (
          <li key={one.class}>
            <i style={{ background: `var(${colourOf(one)})` }} /> {plain(one.class)} {fixed(100 * one.share, 1)} %
          </li>
        ))}
      </ul>
      <Twin label="Classes, losses, and ratios with their formulas">{() => <Tables view={view} />}</Twin>
    </>
  );
}

function Tables({ view }: { view: GoodputView }) {
  const lost = view.lost.filter((one) => one.gpu_seconds > 0);
  return (
    <>
      <table>
        <thead>
          <tr>
            <th>Code</th>
            <th>Class</th>
            <th class="num">GPU time</th>
            <th class="num">Share</th>
          </tr>
        </thead>
        <tbody>
          {view.classes.map((one) => (
            <tr key={one.class}>
              <td>{one.code}</td>
              <td>{plain(one.class)}</td>
              <td class="num">{gpuTime(one.gpu_seconds)}</td>
              <td class="num">{fixed(100 * one.share, 2)} %</td>
            </tr>
          ))}
          {lost.map((one) => (
            <tr key={one.cause}>
              <td />
              <td>lost: {plain(one.cause)}</td>
              <td class="num">{gpuTime(one.gpu_seconds)}</td>
              <td />
            </tr>
          ))}
        </tbody>
      </table>
      <table>
        <thead>
          <tr>
            <th>Ratio</th>
            <th class="num">Value</th>
            <th>Formula</th>
          </tr>
        </thead>
        <tbody>
          {view.ratios.map((one) => (
            <tr key={one.name}>
              <td>{one.name}</td>
              <td class="num">{one.value == null ? '–' : fixed(one.value, 4)}</td>
              <td>{one.formula}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
