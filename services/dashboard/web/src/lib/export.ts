// What is on display as a file: numbers for a table, a drawing for a text.

import { series } from './series';
import type { Columns } from './wire';

const COLUMNS = [
  'arrivals_per_s',
  'completions_per_s',
  'queue',
  'running',
  'gpu_utilisation_percent',
  'gpu_allocated_percent',
  'temperature_max_c',
  'temperature_mean_c',
  'nodes_alive',
] as const satisfies (keyof Columns)[];

/** As in 2026-12-01T08-26-00Z: colons are forbidden in names of files on some systems. */
const stampOf = (ms: number) => new Date(ms).toISOString().slice(0, 19).replaceAll(':', '-') + 'Z';

export function save(blob: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** One row a second, times in UTC; an empty field is a value that was not known. */
export function csvOf(columns: Columns, from: number, to: number): string {
  const rows = columns.t_ms.flatMap((ms, row) => (ms >= from && ms <= to ? [[new Date(ms).toISOString(), ms, ...COLUMNS.map((name) => columns[name][row] ?? '')]] : []));
  return [['time', 't_ms', ...COLUMNS], ...rows].map((row) => `${row.join(',')}\r\n`).join('');
}

export function saveCsv(from: number, to: number): void {
  save(new Blob([csvOf(series.peek(), from, to)], { type: 'text/csv' }), `faultline-${stampOf(from)}.csv`);
}

/** A drawing with its title and its legend, on the background that it has on the page. */
export function savePng(plot: HTMLCanvasElement, title: string, keys: { text: string; colour: string; dash: number[] }[], look: { back: string; ink: string; font: string }, from: number): void {
  const scale = devicePixelRatio || 1;
  const head = 30 * scale;
  const canvas = document.createElement('canvas');
  canvas.width = plot.width;
  canvas.height = plot.height + head;
  const ctx = canvas.getContext('2d')!;
  ctx.fillStyle = look.back;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(plot, 0, head);
  ctx.textBaseline = 'middle';
  ctx.fillStyle = look.ink;
  const write = (text: string, x: number, weight: number) => {
    ctx.font = `${weight} ${12 * scale}px ${look.font}`;
    ctx.fillText(text, x, head / 2);
    return x + ctx.measureText(text).width + 14 * scale;
  };
  let x = write(title, 10 * scale, 600);
  for (const key of keys) {
    ctx.strokeStyle = key.colour;
    ctx.lineWidth = 2 * scale;
    ctx.setLineDash(key.dash.map((length) => length * scale));
    ctx.beginPath();
    ctx.moveTo(x, head / 2);
    ctx.lineTo(x + 18 * scale, head / 2);
    ctx.stroke();
    x = write(key.text, x + 23 * scale, 450);
  }
  canvas.toBlob((blob) => blob && save(blob, `faultline-${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}-${stampOf(from)}.png`), 'image/png');
}
