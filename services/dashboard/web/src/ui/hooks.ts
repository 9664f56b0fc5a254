// Hooks that several pages use.

import type { ReadonlySignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { link } from '../lib/connection';
import { paused } from '../lib/store';

export interface Loaded<T> {
  data: T | null;
  error: unknown;
  loading: boolean;
  reload: () => void;
}

/** Loads when the key changes and then every `everyMs` while the page is visible, connected and not paused. Keeps the last answer. */
export function useLoad<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, everyMs = 0): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: unknown; key: string | null }>({ data: null, error: null, key: null });
  const run = useRef<() => void>(() => {});
  useEffect(() => {
    if (key === null) return;
    const abort = new AbortController();
    let busy = false;
    run.current = async () => {
      if (busy) return;
      busy = true;
      try {
        const data = await load(abort.signal);
        if (!abort.signal.aborted) setState({ data, error: null, key });
      } catch (error) {
        if (!abort.signal.aborted) setState((before) => ({ data: before.key === key ? before.data : null, error, key }));
      } finally {
        busy = false;
      }
    };
    run.current();
    const timer = everyMs
      ? setInterval(() => {
          if (!document.hidden && !paused.peek() && link.peek() === 'live') run.current();
        }, everyMs)
      : 0;
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [key]);
  const current = state.key === key;
  return { data: state.data, error: current ? state.error : null, loading: !current && key !== null, reload: () => run.current() };
}

/** The width of an element in CSS pixels, and again when it changes. */
export function useWidth(): [{ current: HTMLDivElement | null }, number] {
  const ref = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!ref.current) return;
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** Runs `draw` in the next animation frame when one of the signals or the dependencies has changed; many changes make one drawing. */
export function useDrawing(signals: readonly ReadonlySignal<unknown>[], draw: () => void, dependencies: unknown[]): void {
  const latest = useRef(draw);
  latest.current = draw;
  const pending = useRef(0);
  const request = () => {
    pending.current ||= requestAnimationFrame(() => {
      pending.current = 0;
      latest.current();
    });
  };
  useEffect(() => {
    const stops = signals.map((signal) => signal.subscribe(request));
    return () => {
      stops.forEach((stop) => stop());
      cancelAnimationFrame(pending.current);
      pending.current = 0;
    };
  }, []);
  useEffect(request, dependencies);
}

/** A dialog that is shown, above everything else, as soon as it is open. */
export function useModal(open: boolean): RefObject<HTMLDialogElement | null> {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
  }, [open]);
  return dialog;
}
