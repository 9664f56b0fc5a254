// Auto, dark or light, and the colours of the style sheet for what is drawn on a canvas.

import { effect, signal } from '@preact/signals';

export type Theme = 'auto' | 'dark' | 'light';
const KEY = 'faultline.theme';
const colours = new Map<string, string>();

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === 'dark' || value === 'light' ? value : 'auto';
  } catch {
    return 'auto';
  }
}

const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = signal(system.matches);
system.addEventListener('change', () => {
  systemDark.value = system.matches;
});

export const theme = signal<Theme>(stored());
/** Grows when the colours have changed: every canvas reads it and draws again. */
export const paletteVersion = signal(0);

effect(() => {
  const dark = theme.value === 'dark' || (theme.value === 'auto' && systemDark.value);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  colours.clear();
  paletteVersion.value = paletteVersion.peek() + 1;
});

export function setTheme(next: Theme): void {
  theme.value = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** The value of a custom property of the style sheet, such as `--ink`. */
export function colour(name: string): string {
  let value = colours.get(name);
  if (value === undefined) {
    value = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    colours.set(name, value);
  }
  return value;
}
