// A list of which only the visible rows exist. Rows have one height.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

interface Props<T> {
  rows: readonly T[];
  rowHeight: number;
  height: string;
  label: string;
  keyOf: (row: T) => string | number;
  render: (row: T) => ComponentChildren;
  /** The rows on display have changed. */
  onVisible?: (rows: readonly T[]) => void;
  columns: string;
}

const SPARE = 6;

export function VirtualList<T>({ rows, rowHeight, height, label, keyOf, render, onVisible, columns }: Props<T>) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  useEffect(() => {
    const element = box.current!;
    const read = () => setView({ top: element.scrollTop, height: element.clientHeight });
    const observer = new ResizeObserver(read);
    observer.observe(element);
    element.addEventListener('scroll', read, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', read);
    };
  }, []);
  const first = Math.max(0, Math.floor(view.top / rowHeight) - SPARE);
  const last = Math.min(rows.length, Math.ceil((view.top + view.height) / rowHeight) + SPARE);
  const visible = rows.slice(first, last);
  const span = visible.map(keyOf).join(' ');
  useEffect(() => onVisible?.(visible), [span]);
  return (
    <div class="virtual" ref={box} style={{ height }} tabIndex={0} role="list" aria-label={label}>
      <div class="sizer" style={{ height: `${rows.length * rowHeight}px` }} role="presentation">
        {visible.map((row, at) => (
          <div
            class="vrow"
            role="listitem"
            key={keyOf(row)}
            aria-setsize={rows.length}
            aria-posinset={first + at + 1}
            style={{ top: `${(first + at) * rowHeight}px`, height: `${rowHeight}px`, gridTemplateColumns: columns }}
          >
            {render(row)}
          </div>
        ))}
      </div>
    </div>
  );
}
