// Where each node's cell is: racks are blocks of cells that flow like words, with the rack's name above.

import type { NodeIndex } from '../lib/wire';

export interface Block {
  rack: string;
  first: number;
  count: number;
  x: number;
  y: number;
  columns: number;
}
export interface Layout {
  blocks: Block[];
  cellWidth: number;
  cellHeight: number;
  gap: number;
  /** Height of a rack's name above its cells; 0: none is shown. */
  label: number;
  height: number;
  named: boolean;
}

const BLOCK_GAP = 12;
const LABEL = 17;
/** Of many small racks the names would take more room than the nodes: then only a thin line of the ground parts them. */
const FEWEST_FOR_A_NAME = 6;
const THIN_GAP = 3;

/** Cells are as large as their number allows. */
function sizeFor(count: number, width: number): Pick<Layout, 'cellWidth' | 'cellHeight' | 'gap' | 'named'> {
  if (count <= 64)
    return { cellWidth: Math.min(168, Math.max(96, Math.floor((width - 3 * BLOCK_GAP) / 8) - 4)), cellHeight: 50, gap: 4, named: true };
  if (count <= 400) return { cellWidth: 26, cellHeight: 22, gap: 2, named: false };
  if (count <= 2500) return { cellWidth: 13, cellHeight: 13, gap: 1, named: false };
  return { cellWidth: 7, cellHeight: 7, gap: 1, named: false };
}

export function layoutOf(index: NodeIndex, width: number): Layout {
  const size = sizeFor(index.nodes.length, width);
  const stepX = size.cellWidth + size.gap;
  const stepY = size.cellHeight + size.gap;
  const most = Math.max(1, Math.floor((width + size.gap) / stepX));
  const labelled = size.named || index.nodes.length / Math.max(1, index.racks.length) >= FEWEST_FOR_A_NAME;
  const [label, between, narrowest] = labelled ? [LABEL, BLOCK_GAP, 52] : [0, THIN_GAP, 0];
  const blocks: Block[] = [];
  let [x, y, line] = [0, 0, 0];
  for (const [rack, first, count] of index.racks) {
    // About five times as wide as high: few rows keep the page short.
    const wide = size.named ? count : Math.max(Math.ceil(Math.sqrt(count * 3)), Math.ceil(narrowest / stepX));
    const columns = Math.min(most, count, wide);
    const blockWidth = Math.max(columns * stepX - size.gap, narrowest);
    if (x > 0 && x + blockWidth > width) [x, y, line] = [0, y + line + between, 0];
    blocks.push({ rack, first, count, x, y, columns });
    line = Math.max(line, label + Math.ceil(count / columns) * stepY - size.gap);
    x += blockWidth + between;
  }
  return { blocks, ...size, label, height: y + line };
}

export interface Spot {
  x: number;
  y: number;
}

export function spotOf(layout: Layout, block: Block, offset: number): Spot {
  return {
    x: block.x + (offset % block.columns) * (layout.cellWidth + layout.gap),
    y: block.y + layout.label + Math.floor(offset / block.columns) * (layout.cellHeight + layout.gap),
  };
}

/** The node under a point, or -1. */
export function nodeAt(layout: Layout, x: number, y: number): number {
  for (const block of layout.blocks) {
    const column = Math.floor((x - block.x) / (layout.cellWidth + layout.gap));
    const row = Math.floor((y - block.y - layout.label) / (layout.cellHeight + layout.gap));
    if (column < 0 || row < 0 || column >= block.columns) continue;
    const offset = row * block.columns + column;
    if (offset < block.count) return block.first + offset;
  }
  return -1;
}
