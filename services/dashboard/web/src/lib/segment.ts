// Reads a segment of the past: records from a keyframe on, as the OpenAPI document describes them. No state of the page here.

import type { NodeIndex, SegmentInfo, Told } from './wire';

const HEADER_BYTES = 16;
const NODE_BYTES = 5;
const RECORD_HEAD_BYTES = 5;

const enum Kind {
  Time = 0,
  Text = 1,
  Frame = 2,
  Planes = 3,
  Index = 4,
}

/** Takes what an instant says; called in the order of time. */
export interface Sink {
  told: (message: Told) => void;
  ordered: (index: NodeIndex) => void;
}

/** The segment of an instant: the last one of the smallest step that does not begin after it. */
export function segmentAt(segments: readonly SegmentInfo[], at: number): SegmentInfo | undefined {
  const fitting = segments.filter((segment) => segment.from_ms <= at);
  return fitting.sort((a, b) => a.every_ms - b.every_ms || b.from_ms - a.from_ms)[0];
}

const decoder = new TextDecoder();

/** Goes through one segment, forwards only. */
export class Reader {
  /** The instant that was reached. */
  at = 0;
  /** The frame of telemetry at that instant. */
  frame: Uint8Array<ArrayBuffer> = new Uint8Array();
  private place = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array<ArrayBuffer>) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** When the next instant is; null at the end. */
  get nextAt(): number | null {
    const { place } = this;
    if (place + RECORD_HEAD_BYTES + 8 > this.bytes.length) return null;
    return Number(this.view.getBigUint64(place + RECORD_HEAD_BYTES, true));
  }

  /** Reads on up to an instant; true when there was anything. */
  readTo(until: number, sink: Sink): boolean {
    let any = false;
    for (let next = this.nextAt; next !== null && next <= until; next = this.nextAt) {
      this.at = next;
      this.instant(sink);
      any = true;
    }
    return any;
  }

  private instant(sink: Sink): void {
    let isFirst = true;
    while (this.place + RECORD_HEAD_BYTES <= this.bytes.length) {
      const kind = this.view.getUint8(this.place) as Kind;
      if (kind === Kind.Time && !isFirst) return;
      isFirst = false;
      const from = this.place + RECORD_HEAD_BYTES;
      const body = this.bytes.subarray(from, from + this.view.getUint32(this.place + 1, true));
      this.place = from + body.length;
      if (kind === Kind.Text) sink.told(JSON.parse(decoder.decode(body)));
      else if (kind === Kind.Index) sink.ordered(JSON.parse(decoder.decode(body)));
      else if (kind === Kind.Frame) this.frame = body.slice();
      else if (kind === Kind.Planes) this.add(body);
    }
  }

  /** What is added to each byte of the frame before, all first bytes of the nodes, then all second ones. */
  private add(planes: Uint8Array): void {
    const { frame } = this;
    frame.set(planes.subarray(0, HEADER_BYTES));
    const count = (frame.length - HEADER_BYTES) / NODE_BYTES;
    for (let plane = 0, at = HEADER_BYTES; plane < NODE_BYTES; plane += 1) {
      for (let node = 0; node < count; node += 1, at += 1) {
        const cell = HEADER_BYTES + node * NODE_BYTES + plane;
        frame[cell] = frame[cell]! + planes[at]!;
      }
    }
  }
}
