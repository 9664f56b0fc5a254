// The hatching of nodes that are gone or dead, on the heat map and on the timeline alike.

import { colour } from '../lib/theme';

/** Diagonal lines for a canvas of `scale` device pixels a CSS pixel; `period` and `line`, their width, are in CSS pixels. */
export function hatching(ctx: CanvasRenderingContext2D, scale: number, period: number, line: number): CanvasPattern | null {
  const tile = document.createElement('canvas');
  const side = Math.round(period * scale);
  tile.width = tile.height = side;
  const brush = tile.getContext('2d')!;
  brush.strokeStyle = colour('--cell-hatch');
  brush.lineWidth = Math.max(1, line * scale);
  brush.beginPath();
  for (const shift of [-side, 0, side]) {
    brush.moveTo(shift, side);
    brush.lineTo(shift + side, 0);
  }
  brush.stroke();
  const pattern = ctx.createPattern(tile, 'repeat');
  pattern?.setTransform(new DOMMatrix().scale(1 / scale));
  return pattern;
}
