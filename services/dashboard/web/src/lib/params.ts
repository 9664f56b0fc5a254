// Parameters of a job as a person types them: name=value, with commas between. A value is the narrowest of what it may be, as with
// `faultline submit --param`.

export type Param = boolean | number | string;

export class BadParams extends Error {}

export function parseParams(text: string): Record<string, Param> {
  const params: Record<string, Param> = {};
  for (const part of text.split(',')) {
    if (!part.trim()) continue;
    const at = part.indexOf('=');
    const name = part.slice(0, Math.max(at, 0)).trim();
    if (!name) throw new BadParams(`write "${part.trim()}" as name=value, with a comma before the next one`);
    if (Object.hasOwn(params, name)) throw new BadParams(`${name} is given twice`);
    params[name] = narrowest(part.slice(at + 1).trim());
  }
  return params;
}

function narrowest(value: string): Param {
  if (value === 'true' || value === 'false') return value === 'true';
  // Whole numbers that a number here cannot hold stay text.
  const number = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(value) ? Number(value) : Number.NaN;
  const isHeld = Number.isFinite(number) && (!Number.isInteger(number) || Number.isSafeInteger(number));
  return isHeld ? number : value;
}
