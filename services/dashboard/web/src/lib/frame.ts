// The packed telemetry of the WebSocket: binary messages, which the OpenAPI document describes in words only.

// The state byte of a node in a telemetry frame.
export const STATE_MASK = 0b111;
export const HEALTH_NAMES = ['alive', 'suspect', 'gone', 'dead', 'left'] as const;
export type CellHealth = (typeof HEALTH_NAMES)[number];
export const DRAINING = 1 << 3;
export const THROTTLED = 1 << 4;
export const FAULTED = 1 << 5;
export const LATE = 1 << 6;

const HEADER_BYTES = 16;
const NODE_BYTES = 5;

/** Telemetry of all nodes in the order of the node index; what a field means is in the table of the frame, see ARCHITECTURE.md. */
export interface Frame {
  seq: number;
  revision: number;
  count: number;
  cells: Uint8Array;
  bytes: number;
}

/** Reads a binary frame; null when it is not one of ours, which a page of another version than the service may see. */
export function decodeFrame(buffer: ArrayBuffer): Frame | null {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const head = new DataView(buffer);
  const count = head.getUint32(12, true);
  if (head.getUint8(0) !== 1 || buffer.byteLength < HEADER_BYTES + NODE_BYTES * count) return null;
  return {
    seq: head.getUint32(4, true),
    revision: head.getUint32(8, true),
    count,
    cells: new Uint8Array(buffer, HEADER_BYTES),
    bytes: buffer.byteLength,
  };
}

export interface Cell {
  utilisation: number | null;
  memory: number | null;
  temperature: number | null;
  health: CellHealth;
  flags: number;
  running: number;
}

const NOT_REPORTED = 255;

/** A byte of a frame that is a reading; null where no GPU of the node gives it. */
export function readingAt(cells: Uint8Array, at: number): number | null {
  const byte = cells[at] ?? NOT_REPORTED;
  return byte === NOT_REPORTED ? null : byte;
}

const halved = (halfPercents: number | null) => (halfPercents === null ? null : halfPercents / 2);

/** One node of a frame: percentages 0 to 100, degrees Celsius. */
export function cellAt(frame: Frame, index: number): Cell | null {
  if (index < 0 || index >= frame.count) return null;
  const at = index * NODE_BYTES;
  const state = frame.cells[at + 3] ?? 4;
  return {
    utilisation: halved(readingAt(frame.cells, at)),
    memory: halved(readingAt(frame.cells, at + 1)),
    temperature: readingAt(frame.cells, at + 2),
    health: HEALTH_NAMES[state & STATE_MASK] ?? 'left',
    flags: state & ~STATE_MASK,
    running: frame.cells[at + 4] ?? 0,
  };
}
