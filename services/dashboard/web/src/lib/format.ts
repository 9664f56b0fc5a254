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

/** A span as the command writes it: 840 ms, 1.9 s, 2 min 5 s, 1 h 12 min, 3 d 4 h. What is smaller than the last place is cut off. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return DASH;
  if (ms < 1000) return `${Math.max(0, Math.floor(ms))} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds}.${Math.floor((ms % 1000) / 100)} s`;
  if (seconds < 3600) return pair(seconds / 60, 'min', seconds, 's');
  if (seconds < 86400) return pair(seconds / 3600, 'h', seconds / 60, 'min');
  return pair(seconds / 86400, 'd', seconds / 3600, 'h');
}

function pair(large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor(small) % (largeUnit === 'd' ? 24 : 60);
  return rest ? `${Math.floor(large)} ${largeUnit} ${rest} ${smallUnit}` : `${Math.floor(large)} ${largeUnit}`;
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

/** What the service calls otherwise than people do: its tokens are old, the words are those of the glossary. */
const WORDS: Record<string, string> = {
  lost: 'interrupted',
  attempt_lost: 'attempt interrupted',
  job_dead: 'job given up',
  leader_lost: 'leader deposed',
};

/** `attempt_failed` as `attempt failed`. */
export const words = (token: string) => WORDS[token] ?? token.replaceAll('_', ' ').replaceAll('-', ' ');

/** How a job stands, in words: one that waits after a failure is told from one that was never tried. */
export function jobStateWords(job: { state: string; attempts?: { outcome: string }[]; path?: { outcome: string }[] }): string {
  const last = (job.attempts ?? job.path)?.at(-1)?.outcome;
  if (job.state === 'queued' && (last === 'failed' || last === 'timed_out')) return 'waiting for a retry';
  return job.state === 'dead' ? 'given up' : words(job.state);
}

/** The offset of the browser's time zone at that moment, and the zone's name: UTC+01:00, Europe/Berlin. */
export function zone(ms: number): string {
  const minutes = -new Date(ms).getTimezoneOffset();
  const size = Math.abs(minutes);
  const offset = minutes === 0 ? 'UTC' : `UTC${minutes < 0 ? '-' : '+'}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return name && name !== 'UTC' ? `${offset}, ${name}` : offset;
}

/** Date, time of day and zone, for tooltips. */
export function instant(ms: number): string {
  const date = new Date(ms);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${clock(ms, true)} ${zone(ms)}`;
}

/** The last eight characters of an id tell jobs of the same moment apart. */
export const shortId = (id: string) => (id.length > 10 ? `…${id.slice(-8)}` : id);

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
