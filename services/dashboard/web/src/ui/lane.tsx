// What happened, in one lane above all charts: events of the chosen stretch in bins, each with its number or its name, a click away from the
// timeline; and the choice of the stretch, which charts and timeline share.

import { clock, plural } from '../lib/format';
import { now } from '../lib/connection';
import { chartRange, DEFAULT_SPAN_MS } from '../lib/chart-range';
import { saveCsv } from '../lib/export';
import { chosenSpan, followNow, rangeNow, SPANS } from '../lib/range';
import { isMarked, markerLabel, series, seriesVersion, wantHour, WINDOW_S } from '../lib/series';
import type { Marker } from '../lib/wire';
import { useWidth } from './hooks';
import { Icon } from './icons';

/** As wide as a thumb needs, and a number of two digits beside its shape. */
const BIN_PX = 38;
const NAME_PX = 140;
/** So many events of a bin stand in its name; the timeline has all. */
const MOST_NAMED = 8;

/** The worst first: it gives a bin its shape. */
const RANK: Record<string, [icon: string, tone: string]> = {
  node_dead: ['dead', 'is-bad'],
  node_gone: ['gone', 'is-bad'],
  fault_began: ['fault', 'is-warn'],
  leader_lost: ['leader', 'is-violet'],
  leader_elected: ['leader', 'is-violet'],
  node_recovered: ['alive', 'is-good'],
};
const KINDS = Object.keys(RANK);

interface Bin {
  at: number;
  from: number;
  to: number;
  markers: Marker[];
}

function binsOf(markers: Marker[], from: number, to: number, count: number): Bin[] {
  const wide = (to - from) / count;
  const bins = new Map<number, Bin>();
  for (const marker of markers) {
    if (marker.t_ms < from || marker.t_ms > to || !isMarked(marker.kind)) continue;
    const at = Math.min(count - 1, Math.floor((marker.t_ms - from) / wide));
    const bin = bins.get(at) ?? { at, from: from + at * wide, to: from + (at + 1) * wide, markers: [] };
    bin.markers.push(marker);
    bins.set(at, bin);
  }
  return [...bins.values()].sort((a, b) => a.at - b.at);
}

const worstOf = (bin: Bin): Marker => bin.markers.reduce((worst, one) => (KINDS.indexOf(one.kind) < KINDS.indexOf(worst.kind) ? one : worst));

/** Such as: gpu-node-03 dead. */
const nameOf = (marker: Marker) => `${marker.node ?? ''} ${markerLabel(marker.kind)}`.trim();

function textOf(bin: Bin): string {
  const told = bin.markers.slice(0, MOST_NAMED).map((marker) => `${clock(marker.t_ms)} ${nameOf(marker)}: ${marker.detail}`);
  const more = bin.markers.length - told.length;
  return [...told, ...(more > 0 ? [`and ${plural(more, 'more event')}`] : [])].join('\n');
}

export function SpanChoice({ label }: { label: string }) {
  const { follows } = rangeNow(DEFAULT_SPAN_MS);
  const span = chosenSpan();
  return (
    <div class="segmented" role="group" aria-label={label}>
      {SPANS.map(([ms, text]) => (
        <button key={text} aria-pressed={follows && span === ms} onClick={() => followNow(ms)}>
          {text}
        </button>
      ))}
    </div>
  );
}

export function EventLane() {
  void now.value;
  void seriesVersion.value;
  const [box, width] = useWidth();
  const { from, to, follows } = chartRange();
  if (to - from > WINDOW_S * 1000) wantHour();
  const count = Math.max(1, Math.floor(width / BIN_PX));
  const bins = width ? binsOf(series.value.markers, from, to, count) : [];
  return (
    <section class="panel" aria-label="Events and time range of the charts">
      <header>
        <h2>What happened</h2>
        <span class="quiet num lane-range">
          {clock(from)} to {follows ? 'now' : clock(to)}
        </span>
        <div class="actions">
          {!follows && (
            <button class="small" onClick={() => followNow()}>
              <Icon name="play" size={11} /> Follow now
            </button>
          )}
          <SpanChoice label="Time range" />
          <button class="small" title="All charts of this stretch as one table of comma-separated values" onClick={() => saveCsv(from, to)}>
            <Icon name="download" size={12} /> CSV
          </button>
        </div>
      </header>
      <div class="lane-box">
        <div class="lane" ref={box}>
          {bins.map((bin, place) => {
            const worst = worstOf(bin);
            const [icon, tone] = RANK[worst.kind]!;
            const room = ((bins[place + 1]?.at ?? count) - bin.at) * (width / count);
            const isNamed = bin.markers.length === 1 && room >= NAME_PX;
            return (
              <a
                key={bin.at}
                class={tone}
                href={`/timeline?from=${Math.floor(bin.from)}&to=${Math.ceil(bin.to)}`}
                style={{ left: `${(bin.at / count) * 100}%`, maxWidth: `${room}px` }}
                title={textOf(bin)}
                aria-label={`${plural(bin.markers.length, 'event')} from ${clock(bin.from)} to ${clock(bin.to)}: ${textOf(bin)}`}
              >
                <Icon name={icon} size={13} />
                <span class="num clip">{isNamed ? nameOf(worst) : bin.markers.length > 1 ? bin.markers.length : ''}</span>
              </a>
            );
          })}
          {width > 0 && !bins.length && <span class="quiet">no fault and no verdict in this stretch</span>}
        </div>
      </div>
    </section>
  );
}
