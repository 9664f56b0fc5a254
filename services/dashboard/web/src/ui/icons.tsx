// Small drawings. A state has a shape of its own, so that none is told by colour alone.

import type { JSX } from 'preact';

const STROKE = {
  fill: 'none',
  stroke: 'currentColor',
  'stroke-width': 1.8,
  'stroke-linecap': 'round',
  'stroke-linejoin': 'round',
} as const;

const SHAPES: Record<string, JSX.Element> = {
  alive: <circle cx="8" cy="8" r="4.6" fill="currentColor" />,
  suspect: <path d="M8 2.6 14 13H2z" fill="currentColor" stroke="currentColor" stroke-width="1.2" stroke-linejoin="round" />,
  gone: <path d="M8 2.4 13.6 8 8 13.6 2.4 8z" {...STROKE} />,
  dead: <path d="m3.6 3.6 8.8 8.8m0-8.8-8.8 8.8" {...STROKE} stroke-width={2.6} />,
  left: <circle cx="8" cy="8" r="4.6" {...STROKE} stroke-dasharray="2.4 2.6" />,
  draining: <path d="M8 2v7.5M4.6 6.4 8 9.8l3.4-3.4M3.4 13.4h9.2" {...STROKE} />,
  fault: <path d="M9.2 1.6 3.4 9h4l-.8 5.4L12.6 7h-4z" fill="currentColor" />,
  queued: (
    <g {...STROKE}>
      <circle cx="8" cy="8" r="5.6" />
      <path d="M8 5v3.2l2.2 1.4" />
    </g>
  ),
  running: <path d="M5 3.2v9.6L13 8z" fill="currentColor" stroke="currentColor" stroke-width="1.2" stroke-linejoin="round" />,
  committed: <path d="m2.8 8.6 3.4 3.4 7-7.6" {...STROKE} stroke-width={2.3} />,
  cancelled: (
    <g {...STROKE}>
      <circle cx="8" cy="8" r="5.6" />
      <path d="m4.2 11.8 7.6-7.6" />
    </g>
  ),
  abandoned: <circle cx="8" cy="8" r="5.6" {...STROKE} stroke-dasharray="2.6 2.4" />,
  superseded: (
    <g {...STROKE}>
      <path d="M3 8h7.4M7.4 4.6 10.8 8l-3.4 3.4M13.4 3.6v8.8" />
    </g>
  ),
  info: (
    <g {...STROKE}>
      <circle cx="8" cy="8" r="5.8" />
      <path d="M8 7.4v3.4M8 5.1v.1" />
    </g>
  ),
  debug: <circle cx="8" cy="8" r="2.2" fill="currentColor" />,
  leader: <path d="m2.4 12.6-.6-7.8 3.8 3 2.4-4.6 2.4 4.6 3.8-3-.6 7.8z" {...STROKE} />,
  rate: <path d="M2.4 13.4h11.2M4.4 10.6V8M8 10.6V3.4M11.6 10.6V6" {...STROKE} />,
  search: (
    <g {...STROKE}>
      <circle cx="7" cy="7" r="4.4" />
      <path d="m10.4 10.4 3.4 3.4" />
    </g>
  ),
  pause: <path d="M5.4 3v10M10.6 3v10" {...STROKE} stroke-width={2.6} />,
  play: <path d="M5 3v10l8-5z" fill="currentColor" />,
  auto: (
    <g>
      <circle cx="8" cy="8" r="5.6" {...STROKE} />
      <path d="M8 2.4a5.6 5.6 0 0 1 0 11.2z" fill="currentColor" />
    </g>
  ),
  dark: <path d="M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7z" {...STROKE} />,
  light: (
    <g {...STROKE}>
      <circle cx="8" cy="8" r="2.9" />
      <path d="M8 1.4v1.4M8 13.2v1.4M1.4 8h1.4M13.2 8h1.4M3.3 3.3l1 1M11.7 11.7l1 1M12.7 3.3l-1 1M4.3 11.7l-1 1" />
    </g>
  ),
  back: <path d="M12.4 3 6.4 8l6 5zM4 3v10" fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" />,
  forth: <path d="m3.6 3 6 5-6 5zM12 3v10" fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" />,
  close: <path d="m4 4 8 8m0-8-8 8" {...STROKE} />,
  copy: (
    <g {...STROKE}>
      <rect x="5.6" y="5.6" width="8" height="8" rx="1.6" />
      <path d="M10.4 5.4V3.8a1.4 1.4 0 0 0-1.4-1.4H3.8a1.4 1.4 0 0 0-1.4 1.4V9a1.4 1.4 0 0 0 1.4 1.4h1.6" />
    </g>
  ),
  keys: (
    <g {...STROKE}>
      <rect x="1.6" y="4" width="12.8" height="8.4" rx="1.6" />
      <path d="M4.4 7h.1M7 7h.1M9.6 7h.1M12 7h.1M5 9.8h6" />
    </g>
  ),
  download: <path d="M8 2.4v7.4M4.8 6.8 8 10l3.2-3.2M2.8 13.4h10.4" {...STROKE} />,
  changed: <path d="M3 5.4h9M9 2.4l3 3-3 3M13 10.6H4M7 7.6l-3 3 3 3" {...STROKE} />,
  slash: <path d="m12.4 3.6-8.8 8.8" {...STROKE} stroke-width={2.6} />,
  stop: <rect x="3.4" y="3.4" width="9.2" height="9.2" rx="1.4" fill="currentColor" />,
  link: <path d="M6.6 9.4 13 3M9 2.8h4.2V7M11.6 9.4v3.2a1 1 0 0 1-1 1H3.4a1 1 0 0 1-1-1V5.4a1 1 0 0 1 1-1h3.2" {...STROKE} />,
  network: (
    <g {...STROKE}>
      <path d="M2.4 5.2h4.2M9.4 5.2h4.2M2.4 10.8h4.2M9.4 10.8h4.2M8 2v12" stroke-dasharray="3 2" />
    </g>
  ),
};

const SAME: Record<string, string> = {
  failed: 'dead',
  passed: 'committed',
  recovered: 'committed',
  ongoing: 'fault',
  active: 'running',
  aborted: 'cancelled',
  refused: 'cancelled',
  broken: 'dead',
  timed_out: 'queued',
  lost: 'gone',
  warn: 'suspect',
  error: 'dead',
};

export function Icon({ name, size = 14, class: className }: { name: string; size?: number; class?: string }) {
  return (
    <svg class={className} width={size} height={size} viewBox="0 0 16 16" aria-hidden="true">
      {SHAPES[SAME[name] ?? name] ?? SHAPES.info}
    </svg>
  );
}

export function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="6" fill="#1f3a5f" />
      <path d="M4 20h7l3-11 4 16 3-9h7" fill="none" stroke="#ffd166" stroke-width="3" stroke-linejoin="round" stroke-linecap="round" />
    </svg>
  );
}
