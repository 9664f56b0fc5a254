// The list of jobs, its search, and the dialog that shows one job with its path.

import { $, JOB_SIGNS, OUTCOME_SIGNS, call, clock, element, keyed, problem, say, sign, span, wordy } from "./dom.js";

let latest = null; // the newest push
let filtered = null; // rows of a search, instead of the pushed ones
let nextCursor = null;

function makeJob(job) {
  const row = element("tr");
  const name = element("td");
  const link = element("button", "text", job.name || job.id);
  link.type = "button";
  link.addEventListener("click", () => openJob(job.id));
  name.append(link, element("span", "note"));
  const state = element("td");
  state.append(element("span", "badge"));
  const path = element("td", "path");
  path.append(element("div"), element("span", "note"));
  const orders = element("td");
  const cancel = element("button", "", "Cancel");
  cancel.type = "button";
  cancel.setAttribute("aria-label", `Cancel ${job.name}`);
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      await call("POST", `/api/v1/jobs/${job.id}/cancel`);
    } catch (error) {
      cancel.disabled = false;
      say(row.querySelector(".path .note"), problem(error));
    }
  });
  orders.append(cancel);
  row.append(name, state, path, element("td", "since"), orders);
  return row;
}

function updateJob(row, job, now) {
  say(row.querySelector("td .note"), `${job.kind} · ${job.priority}`);
  const progress = job.state === "running" ? ` ${Math.round(job.progress_permille / 10)} %` : "";
  sign(row.querySelector(".badge"), JOB_SIGNS[job.state] ?? ["?", ""], job.state + progress);
  const steps = job.path.length || !job.node ? job.path : [{ node: job.node, outcome: "running" }];
  keyed(row.querySelector(".path div"), steps.map((step, index) => ({ step, index })), ({ index }) => index, () => element("span"), (shown, { step, index }) => {
    say(shown, `${index ? "→ " : ""}${step.node} ${OUTCOME_SIGNS[step.outcome] ?? "?"} ${wordy(step.outcome)}`);
  });
  const note = row.querySelector(".path .note");
  if (job.note || !note.textContent) say(note, job.note);
  const ended = job.ended_at_ms !== null && job.ended_at_ms !== undefined;
  say(row.querySelector(".since"), ended ? `took ${span(job.ended_at_ms - job.submitted_at_ms)}` : span(now - job.submitted_at_ms));
  row.querySelector("button:not(.text)").hidden = ended;
}

/** Shows a push, unless a search is on. */
export function jobs(state) {
  latest = state;
  if (filtered !== null) return;
  showJobs(state.jobs, state.at_ms);
  $("more").hidden = state.jobs.length < 50;
}

function showJobs(rows, now) {
  keyed($("jobs"), rows, (job) => job.id, makeJob, (row, job) => updateJob(row, job, now));
  $("jobs-empty").hidden = rows.length > 0;
}

/** A row of the REST API in the shape of a pushed one. */
const brief = (job) => ({ ...job, path: job.attempts.map(({ node, outcome }) => ({ node, outcome })), note: job.waiting?.summary || job.reason || job.result });

async function search(more) {
  const form = new FormData($("filters"));
  const query = new URLSearchParams([...form].filter(([, value]) => value !== ""));
  if (query.size === 0 && !more) {
    filtered = null;
    if (latest) jobs(latest);
    return;
  }
  query.set("limit", "50");
  if (more) query.set("cursor", nextCursor ?? latest?.jobs.at(-1)?.id ?? "");
  try {
    const page = await call("GET", `/api/v1/jobs?${query}`);
    const before = more ? filtered ?? latest?.jobs ?? [] : [];
    filtered = [...before, ...page.items.map(brief)];
    nextCursor = page.next_cursor ?? null;
    $("more").hidden = nextCursor === null;
    showJobs(filtered, latest?.at_ms ?? Date.now());
  } catch (error) {
    say($("jobs-empty"), problem(error));
    $("jobs-empty").hidden = false;
  }
}

let searchTimer = 0;
$("filters").addEventListener("input", () => {
  clearTimeout(searchTimer);
  nextCursor = null;
  searchTimer = setTimeout(() => search(false), 250);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => search(true));

// ---- one job

let detailTimer = 0;

export async function openJob(id) {
  if (!$("detail").open) $("detail").showModal();
  clearInterval(detailTimer);
  $("detail").dataset.job = id;
  $("detail-path").replaceChildren();
  $("detail-facts").replaceChildren();
  say($("detail-title"), "Job");
  say($("detail-id"), id);
  await refreshJob();
  detailTimer = setInterval(refreshJob, 1000);
}

async function refreshJob() {
  const id = $("detail").dataset.job;
  try {
    const job = await call("GET", `/api/v1/jobs/${id}`);
    if ($("detail").dataset.job !== id) return;
    showDetail(job);
    $("detail-problem").hidden = true;
    if (job.ended_at_ms) clearInterval(detailTimer);
  } catch (error) {
    $("detail-problem").hidden = false;
    say($("detail-problem"), problem(error));
  }
}

function showDetail(job) {
  const demand = job.demand && `${job.demand.gpu_milli / 1000} GPU, ${job.demand.gpu_memory_mib} MiB each`;
  const facts = [
    ["State", `${(JOB_SIGNS[job.state] ?? ["?"])[0]} ${job.state}`],
    ["Kind", job.kind],
    ["Priority", job.priority],
    ["Asks for", demand],
    ["Submitted", clock(job.submitted_at_ms)],
    ["Ended", job.ended_at_ms && `${clock(job.ended_at_ms)}, after ${span(job.ended_at_ms - job.submitted_at_ms)}`],
    ["Waits", job.waiting?.summary],
    ["Failed, requeued", `${job.failures}, ${job.requeues}`],
    ["Result", job.result],
    ["Reason", job.reason],
    ["Known from", job.stale_since_ms ? `${job.source}; no scheduler answers since ${clock(job.stale_since_ms)}` : job.source],
  ].filter(([, value]) => value);
  say($("detail-title"), job.name || "Job");
  $("detail-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", "", name), element("dd", "", value)]));
  keyed($("detail-path"), job.attempts, (row) => row.attempt, () => {
    const line = element("tr");
    for (let cell = 0; cell < 6; cell += 1) line.append(element("td"));
    return line;
  }, (line, row) => {
    const from = row.started_at_ms ?? row.placed_at_ms;
    const took = row.ended_at_ms ? span(row.ended_at_ms - from) : "";
    const outcome = `${OUTCOME_SIGNS[row.outcome] ?? "?"} ${wordy(row.outcome)}`;
    [row.node, row.gpus.join(", "), clock(row.placed_at_ms), took, row.detail ? `${outcome}: ${row.detail}` : outcome, row.why].forEach((text, cell) => say(line.children[cell], text));
  });
  if (job.attempts.length === 0) $("detail-path").replaceChildren(element("tr"));
  if (job.attempts.length === 0) $("detail-path").firstChild.append(Object.assign(element("td", "quiet", "not placed yet"), { colSpan: 6 }));
  $("detail-cancel").hidden = Boolean(job.ended_at_ms);
}

$("detail").addEventListener("close", () => clearInterval(detailTimer));
$("detail-cancel").addEventListener("click", async () => {
  try {
    await call("POST", `/api/v1/jobs/${$("detail").dataset.job}/cancel`);
    await refreshJob();
  } catch (error) {
    $("detail-problem").hidden = false;
    say($("detail-problem"), problem(error));
  }
});
