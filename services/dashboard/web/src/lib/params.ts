// Parameters of a job as a person types them: name=value, with commas between. What a value is, the service decides, by the rule of
// `faultline submit --param`; a value in quotation marks is text as it stands, and may have commas.

export interface TypedParams {
  params: Record<string, string>;
  params_from_text: Record<string, string>;
}

export class BadParams extends Error {}

/** A name, and a value with or without quotation marks, up to a comma or the end. */
const ONE = /\s*([^=,"]+?)\s*=\s*(?:"([^"]*)"\s*|([^,"]*))(?:,|$)/y;

export function parseParams(text: string): TypedParams {
  const typed: TypedParams = { params: {}, params_from_text: {} };
  let at = 0;
  while (/[^\s,]/.test(text.slice(at))) {
    at += /^[\s,]*/.exec(text.slice(at))![0].length;
    ONE.lastIndex = at;
    const found = ONE.exec(text);
    if (!found) throw new BadParams(`write "${text.slice(at).trim()}" as name=value or name="text", with a comma before the next one`);
    const [whole, name = '', quoted, plain = ''] = found;
    if (Object.hasOwn(typed.params, name) || Object.hasOwn(typed.params_from_text, name)) throw new BadParams(`${name} is given twice`);
    if (quoted !== undefined) typed.params[name] = quoted;
    else typed.params_from_text[name] = plain.trim();
    at += whole.length;
  }
  return typed;
}

/** A value as it would be typed here: text that would be read as something else stands in quotation marks. */
export function showParam(value: boolean | number | string): string {
  if (typeof value !== 'string') return String(value);
  const isPlain = value !== '' && value.trim() === value && !/[",\n]/.test(value) && !/^(true|false|-?\d.*)$/.test(value);
  return isPlain ? value : JSON.stringify(value);
}
