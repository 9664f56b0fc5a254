// Numbers and times as people read them. A missing value is a dash, never a zero.

export const DASH = '–';

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? DASH : value.toLocaleString('en');
}

export function fixed(value: number | null | undefined, digits = 0): string {
  return value === null || value === undefined || !Number.isFinite(value) ? DASH : value.toFixed(digits);
}

/** Jobs a minute: as many digits as the slider's step there. */
export function rate(value: number | null | undefined): string {
  if (value === null || value === undefined) return DASH;
  return value < 1
    ? String(Number(value.toFixed(2)))
    : value < 10
      ? String(Number(value.toFixed(1)))
      : Math.round(value).toLocaleString('en');
}

/** A span: 840 ms, 1.9 s, 2 min 05 s, 1 h 12 min. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return DASH;
  if (ms < 0) return '0 s';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 ? `${minutes} min ${pad(seconds % 60)} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

const pad = (value: number) => String(value).padStart(2, '0');

/** Local time of day, with tenths when asked. */
export function clock(ms: number, tenths = false): string {
  const date = new Date(ms);
  const text = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  return tenths ? `${text}.${Math.floor(date.getMilliseconds() / 100)}` : text;
}

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return DASH;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(size < 10 ? 1 : 0)} ${units[unit]}`;
}

/** `attempt_lost` as `attempt lost`. */
export const words = (token: string) => token.replaceAll('_', ' ').replaceAll('-', ' ');

/** The last eight characters of an id tell jobs of the same moment apart. */
export const shortId = (id: string) => (id.length > 10 ? `…${id.slice(-8)}` : id);

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
