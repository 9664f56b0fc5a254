// The layer of arcs above the heat map; see heat-arcs.

import { useEffect, useMemo, useRef } from 'preact/hooks';
import { incidents, paused, positions, serviceNow } from '../lib/store';
import { colour } from '../lib/theme';
import { drawArcs, Moves, type Arc } from './heat-arcs';
import { spotOf, type Layout, type Spot } from './heat-layout';

/** What has moved is remembered for the page: the layer comes and goes with the map. */
const moves = new Moves();

/** The middles of the cells, by place in the index. */
function middles(layout: Layout): Spot[] {
  const all: Spot[] = [];
  for (const block of layout.blocks) {
    for (let offset = 0; offset < block.count; offset += 1) {
      const { x, y } = spotOf(layout, block, offset);
      all[block.first + offset] = { x: x + layout.cellWidth / 2, y: y + layout.cellHeight / 2 };
    }
  }
  return all;
}

export function HeatArcs({ layout, width }: { layout: Layout; width: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const spots = useMemo(() => middles(layout), [layout.height, layout.cellWidth, layout.blocks.length, width]);
  const latest = useRef(spots);
  latest.current = spots;

  useEffect(() => {
    const ctx = canvas.current?.getContext('2d');
    if (!ctx || !canvas.current) return;
    const scale = devicePixelRatio || 1;
    canvas.current.width = Math.round(width * scale);
    canvas.current.height = Math.round(layout.height * scale);
    let arcs: Arc[] = [];
    let pending = 0;
    const spot = (node: string) => latest.current[positions.peek().get(node) ?? -1] ?? null;
    const draw = () => {
      pending = 0;
      const now = performance.now();
      ctx.setTransform(scale, 0, 0, scale, 0, 0);
      ctx.clearRect(0, 0, width, layout.height);
      const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
      if (drawArcs(ctx, arcs, spot, now, still, { arc: colour('--warn'), edge: colour('--surface') })) pending = requestAnimationFrame(draw);
      else arcs = [];
    };
    const stop = incidents.subscribe((known) => {
      if (!known || paused.peek()) return;
      const fresh = moves.next(known, performance.now(), serviceNow());
      if (!fresh.length) return;
      arcs = arcs.concat(fresh);
      pending ||= requestAnimationFrame(draw);
    });
    return () => {
      stop();
      cancelAnimationFrame(pending);
    };
  }, [width, layout.height]);
  return <canvas ref={canvas} class="arcs" style={{ height: `${layout.height}px` }} aria-hidden="true" />;
}
