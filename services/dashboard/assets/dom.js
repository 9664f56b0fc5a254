// Making and keeping elements, and asking the dashboard. All text goes through textContent: nothing that a job or a
// node is named can become markup. Rows are kept by their key, so that focus survives the next push.

export const JOB_SIGNS = { queued: ["◌", ""], running: ["▶", "busy"], committed: ["✓", "good"], dead: ["✕", "bad"], cancelled: ["⊘", "warn"], abandoned: ["∅", "warn"] };
export const HEALTH_SIGNS = { alive: ["●", "good"], suspect: ["▲", "warn"], gone: ["◇", "bad"], dead: ["✕", "bad"] };
export const OUTCOME_SIGNS = { running: "▶", committed: "✓", failed: "✕", timed_out: "⧖", lost: "⚡", cancelled: "⊘", superseded: "↷" };
export const LEVEL_SIGNS = { debug: ["·", ""], info: ["ℹ", "busy"], warn: ["▲", "warn"], error: ["✕", "bad"] };

export const $ = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Changes the text only when it differs: a selection then survives. */
export function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function sign(target, [mark, tone], word) {
  say(target, `${mark} ${word}`);
  target.className = `badge ${tone}`.trim();
}

/** One child a key, in order; children that stay are updated, not made anew. */
export function keyed(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = known.get(key);
    if (child) {
      known.delete(key);
    } else {
      child = create(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const gone of known.values()) gone.remove();
}

export const count = (number) => Number(number).toLocaleString("en");
export const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
export const wordy = (name) => name.replaceAll("_", " ");

export function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw { message: "the dashboard does not answer" };
  }
  const answer = await response.json().catch(() => ({}));
  if (answer.error) throw { ...answer.error, taken: answer.submitted };
  if (!response.ok) throw { message: `the dashboard answered ${response.status}` };
  return answer;
}

export const problem = (error) => [error.field && `${error.field}:`, error.message, error.remedy && `– ${error.remedy}`].filter(Boolean).join(" ");
