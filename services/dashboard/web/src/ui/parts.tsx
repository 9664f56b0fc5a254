// The small parts that pages are made of: badges, meters, panels, and the designed empty, loading and failed states.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { failureText } from '../lib/api';
import { words } from '../lib/format';
import { say } from '../lib/announce';
import { indexFailure, loadIndex } from '../lib/store';
import { Icon } from './icons';

const TONE: Record<string, string> = {
  alive: 'good',
  suspect: 'warn',
  gone: 'bad',
  dead: 'bad',
  left: '',
  queued: '',
  running: 'busy',
  committed: 'good',
  failed: 'bad',
  timed_out: 'bad',
  lost: 'bad',
  cancelled: '',
  abandoned: 'warn',
  superseded: 'violet',
  debug: '',
  info: '',
  warn: 'warn',
  error: 'bad',
  urgent: 'bad',
  high: 'warn',
  normal: '',
  low: '',
  passed: 'good',
  recovered: 'good',
  ongoing: 'warn',
  active: 'busy',
  aborted: 'warn',
  refused: 'warn',
  broken: 'bad',
};

export const toneOf = (state: string) => TONE[state] ?? '';

export function State({ of, label }: { of: string; label?: string }) {
  return (
    <span class={`badge ${toneOf(of)}`}>
      <Icon name={of} size={11} />
      {label ?? words(of)}
    </span>
  );
}

export function Meter({ value, kind = '', label }: { value: number | null; kind?: string; label: string }) {
  const percent = Math.max(0, Math.min(100, value ?? 0));
  return (
    <div class={`meter ${kind}`} role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(percent)}>
      <i style={{ width: `${percent}%` }} />
    </div>
  );
}

interface PanelProps {
  title: ComponentChildren;
  aside?: ComponentChildren;
  children: ComponentChildren;
  class?: string;
  flush?: boolean;
  id?: string;
}

export function Panel({ title, aside, children, class: className = '', flush, id }: PanelProps) {
  return (
    <section class={`panel ${className}`} id={id}>
      <header>
        <h2>{title}</h2>
        {aside && <div class="actions">{aside}</div>}
      </header>
      <div class={flush ? 'flush' : 'body'}>{children}</div>
    </section>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="state">
      <b>{title}</b>
      {children && <p>{children}</p>}
    </div>
  );
}

export function Failed({ what, error, retry }: { what: string; error: unknown; retry?: () => void }) {
  return (
    <div class="state error" role="alert">
      <b>{what}</b>
      <p class="break">{failureText(error)}</p>
      {retry && <button onClick={retry}>Try again</button>}
    </div>
  );
}

export function Loading({ rows = 4, label = 'Loading' }: { rows?: number; label?: string }) {
  return (
    <div class="stack" role="status" aria-label={label}>
      {Array.from({ length: rows }, (_, row) => (
        <div class="skeleton" key={row} style={{ height: '22px', width: `${96 - (row % 3) * 14}%` }} />
      ))}
    </div>
  );
}

/** In place of the nodes until their names are here. */
export function NodesLoading({ rows }: { rows?: number }) {
  return indexFailure.value === null ? (
    <Loading rows={rows} />
  ) : (
    <Failed what="The nodes cannot be listed" error={indexFailure.value} retry={() => void loadIndex()} />
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone(true);
      say('Copied');
      setTimeout(() => setDone(false), 1400);
    } catch {
      say('The browser does not let this page copy');
    }
  };
  return (
    <button class="icon" aria-label={label} title={label} onClick={copy}>
      <Icon name={done ? 'committed' : 'copy'} />
    </button>
  );
}

export function Command({ text }: { text: string }) {
  return (
    <span class="command">
      <code class="clip" title={text}>
        {text}
      </code>
      <Copy text={text} label={`Copy: ${text}`} />
    </span>
  );
}

interface SegmentedProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

export function Segmented<T extends string>({ label, value, options, onChange }: SegmentedProps<T>) {
  return (
    <div class="segmented" role="group" aria-label={label}>
      {options.map(([key, text]) => (
        <button key={key} aria-pressed={key === value} onClick={() => onChange(key)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** The same data as a canvas, as a table. Made only while it is open. */
export function Twin({ label, children }: { label: string; children: () => ComponentChildren }) {
  const [open, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen((event.currentTarget as HTMLDetailsElement).open)}>
      <summary>{label}</summary>
      {open && (
        <div class="twin" tabIndex={0} role="region" aria-label={label}>
          {children()}
        </div>
      )}
    </details>
  );
}
