// Shows what the WebSocket pushes, and passes orders on.

import { $, HEALTH_SIGNS, LEVEL_SIGNS, call, clock, count, element, keyed, problem, say, sign, span, wordy } from "./dom.js";
import { jobs, openJob } from "./jobs.js";

const SILENCE_MS = 3000;
const RATE_MIN = 0.1;
const RATE_MAX = 50;

// ---- figures

function tiles(state) {
  const { stats } = state;
  const ledger = stats.ledger;
  const waiting = stats.queued_in_stream + stats.queued_held;
  const down = stats.nodes_gone + stats.nodes_dead;
  const rows = [
    ["Waiting", count(waiting), ""],
    ["Running", count(stats.running), ""],
    ["Committed", count(ledger.committed), `${count(stats.committed_last_minute)} last min`],
    ["Submitted", count(ledger.submitted), ""],
    ["Dead", count(ledger.dead), ""],
    ["Cancelled", count(ledger.cancelled + ledger.abandoned), ""],
    ["Nodes alive", count(stats.nodes_alive), [stats.nodes_suspect && `${stats.nodes_suspect} suspect`, down && `${down} down`].filter(Boolean).join(", ")],
    ["GPUs in use", (stats.gpu_used_milli / 1000).toFixed(1), `of ${stats.gpus_total}`],
    ["Requeued", count(stats.requeued_total), stats.requeued_total ? `p95 ${span(stats.requeue_p95_ms)}` : ""],
    ["Retried", count(stats.retried_total), ""],
  ];
  keyed($("tiles"), rows, (row) => row[0], (row) => {
    const tile = element("div");
    tile.append(element("dt", "", row[0]), element("dd"));
    tile.lastChild.append(element("span"), element("small"));
    return tile;
  }, (tile, [, value, more]) => {
    say(tile.querySelector("span"), value);
    say(tile.querySelector("small"), more ? ` ${more}` : "");
  });
  say($("leader"), stats.leader ? `${stats.leader} leads, epoch ${stats.epoch}, policy ${stats.policy}` : "no scheduler has answered yet");
  say($("footer"), `${count(stats.jobs_in_memory)} jobs in memory, ${stats.websockets} page(s) open, ${count(stats.undecodable_messages)} unreadable messages`);
}

// ---- rate

const toRate = (place) => RATE_MIN * (RATE_MAX / RATE_MIN) ** (place / 1000);
const toPlace = (rate) => Math.round((1000 * Math.log(rate / RATE_MIN)) / Math.log(RATE_MAX / RATE_MIN));
const rounded = (rate) => Math.min(RATE_MAX, Math.max(RATE_MIN, rate < 1 ? Math.round(rate * 100) / 100 : Math.round(rate * 10) / 10));
let rateTouchedAt = -Infinity;
let rateTimer = 0;

function showRate(rate, by) {
  say($("rate-value"), `${rounded(rate)} jobs/min`);
  $("rate").setAttribute("aria-valuetext", `${rounded(rate)} jobs a minute`);
  if (by !== undefined) say($("rate-by"), by);
}

function rate(state) {
  const slider = $("rate");
  slider.disabled = false;
  const now = state.rate;
  keyed($("presets"), now.presets, (preset) => preset.name, (preset) => {
    const button = element("button", "", preset.name);
    button.type = "button";
    button.title = `${preset.jobs_per_minute} jobs a minute`;
    button.addEventListener("click", () => {
      slider.value = toPlace(preset.jobs_per_minute);
      showRate(preset.jobs_per_minute);
      setRate({ preset: preset.name });
    });
    return button;
  }, (button, preset) => button.setAttribute("aria-pressed", String(now.preset === preset.name)));
  // While it is being moved, the slider belongs to the person.
  if (performance.now() - rateTouchedAt < 1500) return;
  slider.value = toPlace(now.jobs_per_minute);
  showRate(now.jobs_per_minute, now.set_by ? `set by ${now.set_by} at ${clock(now.at_ms)}` : "default");
}

async function setRate(body) {
  rateTouchedAt = performance.now();
  clearTimeout(rateTimer);
  try {
    const now = await call("PUT", "/api/v1/rate", body);
    showRate(now.jobs_per_minute, `set by ${now.set_by} at ${clock(now.at_ms)}`);
    $("rate-problem").hidden = true;
  } catch (error) {
    $("rate-problem").hidden = false;
    say($("rate-problem"), problem(error));
  }
}

$("rate").addEventListener("input", (event) => {
  rateTouchedAt = performance.now();
  const wanted = rounded(toRate(Number(event.target.value)));
  showRate(wanted);
  clearTimeout(rateTimer);
  rateTimer = setTimeout(() => setRate({ jobs_per_minute: wanted }), 250);
});

// ---- nodes

function makeNode(node) {
  const card = element("li", "node");
  const head = element("header");
  head.append(element("h3", "", node.node), element("span", "badge"), element("span", "badge warn", "‖ draining"));
  const foot = element("div", "foot");
  const drain = element("button", "", "Drain");
  drain.type = "button";
  drain.addEventListener("click", async () => {
    drain.disabled = true;
    const verb = card.dataset.draining === "true" ? "undrain" : "drain";
    try {
      await call("POST", `/api/v1/nodes/${encodeURIComponent(node.node)}/${verb}`);
      say(card.querySelector(".problem"), "");
    } catch (error) {
      say(card.querySelector(".problem"), problem(error));
    }
    drain.disabled = false;
  });
  foot.append(element("p", "beat quiet"), drain);
  card.append(head, element("p", "what quiet"), element("div", "gpus"), element("p", "runs"), element("p", "problem"), foot);
  return card;
}

function updateNode(card, node) {
  const [badge, draining] = card.querySelectorAll("header .badge");
  sign(badge, HEALTH_SIGNS[node.health] ?? ["?", ""], node.health);
  draining.hidden = !node.draining;
  card.dataset.draining = String(node.draining);
  card.classList.toggle("down", node.health === "gone" || node.health === "dead");
  say(card.querySelector(".what"), [node.model, node.worker, `life ${node.incarnation}`].filter(Boolean).join(" · "));
  keyed(card.querySelector(".gpus"), node.gpus.map((gpu, index) => ({ gpu, index })), (row) => row.index, (row) => {
    const line = element("div", "gpu");
    const bar = element("div", "bar");
    bar.setAttribute("aria-hidden", "true");
    bar.append(element("div"));
    line.append(element("span", "", `GPU ${row.index}`), bar, element("span", "percent"), element("span", "more"));
    return line;
  }, (line, { gpu }) => {
    const percent = Math.min(100, Math.max(0, gpu.utilisation_percent));
    line.querySelector(".bar > div").style.width = `${percent}%`;
    say(line.querySelector(".percent"), `${percent.toFixed(0)} %`);
    const memory = `${(gpu.memory_used_mib / 1024).toFixed(1)}/${(gpu.memory_total_mib / 1024).toFixed(0)} GiB`;
    const booked = gpu.used_milli === undefined ? "" : `booked ${gpu.used_milli / 10} %`;
    const more = [memory, `${gpu.temperature_c.toFixed(0)} °C`, `${gpu.power_w.toFixed(0)} W`, booked, gpu.throttled && "⚠ throttled"].filter(Boolean).join(" · ");
    line.title = more;
    // A big machine shows one line a GPU; the rest is in the tooltip, except what somebody must see.
    say(line.querySelector(".more"), node.gpus.length > 2 ? (gpu.throttled ? "⚠ throttled" : "") : more);
    line.querySelector(".more").hidden = node.gpus.length > 2 && !gpu.throttled;
  });
  const runs = card.querySelector(".runs");
  const more = node.running - node.running_jobs.length;
  if (runs.firstChild === null) runs.append(element("span"), element("span", "list"), element("span"));
  say(runs.children[0], node.running === 0 ? "runs nothing" : `runs ${node.running}: `);
  keyed(runs.children[1], node.running_jobs, (run) => run.job, (run) => {
    const link = element("button", "text");
    link.type = "button";
    link.addEventListener("click", () => openJob(run.job));
    return link;
  }, (link, run) => say(link, `…${run.job.slice(-6)} ${Math.round(run.progress_permille / 10)} %  `));
  say(runs.children[2], more > 0 ? `and ${more} more` : "");
  say(card.querySelector(".beat"), node.heartbeat_age_ms === null ? "no heartbeat yet" : `heartbeat ${span(node.heartbeat_age_ms)} ago`);
  say(card.querySelector(".foot button"), node.draining ? "Undrain" : "Drain");
}

function nodes(state) {
  keyed($("nodes"), state.nodes, (node) => node.node, makeNode, updateNode);
  $("nodes-empty").hidden = state.nodes.length > 0;
  const shown = state.nodes.length;
  const all = state.stats.nodes_known;
  say($("nodes-count"), all > shown ? `the first ${shown} of ${all}` : `${all}`);
}

// ---- events

function events(state) {
  const rows = [...state.events].reverse();
  keyed($("events"), rows, (event) => event.seq, (event) => {
    const line = element("li");
    const badge = element("span", "badge");
    sign(badge, LEVEL_SIGNS[event.level] ?? ["?", ""], wordy(event.kind));
    line.append(element("time", "", clock(event.at_ms)), badge, ` ${[event.node, event.detail].filter(Boolean).join(": ")} `);
    if (event.job) {
      const link = element("button", "text", `job …${event.job.slice(-6)}`);
      link.type = "button";
      link.addEventListener("click", () => openJob(event.job));
      line.append(link);
    }
    line.append(element("span", "note", event.service));
    return line;
  }, () => {});
  $("events-empty").hidden = rows.length > 0;
}

// ---- submitting

$("submit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const number = (name, factor = 1) => (form.elements[name].value === "" ? undefined : Math.round(Number(form.elements[name].value) * factor));
  const body = {
    kind: form.elements.kind.value.trim(),
    priority: form.elements.priority.value,
    gpus: form.elements.gpus.value === "" ? undefined : Number(form.elements.gpus.value),
    size: number("size"),
    duration_ms: number("duration", 1000),
    count: number("count"),
    timeout_ms: number("timeout", 1000),
    max_retries: number("max_retries"),
  };
  for (const field of form.elements) field.removeAttribute("aria-invalid");
  const button = form.querySelector("button");
  button.disabled = true;
  say($("submit-answer"), "submitting…");
  try {
    const answer = await call("POST", "/api/v1/jobs", body);
    say($("submit-answer"), `✓ ${count(answer.submitted)} submitted`);
  } catch (error) {
    say($("submit-answer"), `✕ ${problem(error)}`);
    form.elements[error.field?.replace("_ms", "")]?.setAttribute("aria-invalid", "true");
  }
  button.disabled = false;
});

// ---- the connection

let latest = null;
let heardAt = 0;
let delay = 500;

function show(state) {
  latest = state;
  tiles(state);
  rate(state);
  nodes(state);
  jobs(state);
  events(state);
  const { stats } = state;
  const trouble = !stats.nats_connected
    ? "⚠ The dashboard has lost NATS: what you see is old."
    : stats.stale_since_ms
      ? `⚠ No scheduler answers since ${clock(stats.stale_since_ms)}: figures are counted here; running jobs go on.`
      : "";
  banner(trouble);
}

function banner(text) {
  say($("banner"), text);
  $("banner").hidden = text === "";
}

function link(kind, text) {
  $("link").dataset.link = kind;
  say($("link"), text);
  $("main").classList.toggle("old", kind === "lost");
}

function lost() {
  link("lost", "✕ connection lost");
  banner(`⚠ Connection lost: trying again. ${latest ? `What you see is of ${clock(latest.at_ms)}.` : ""}`);
}

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/ws`);
  heardAt = performance.now();
  let over = false;
  const again = () => {
    if (over) return;
    over = true;
    clearInterval(watchdog);
    lost();
    setTimeout(connect, delay);
    delay = Math.min(5000, delay * 2);
  };
  // A link that fell silent without closing is as lost as a closed one, and its closing may take a minute.
  const watchdog = setInterval(() => {
    if (performance.now() - heardAt <= SILENCE_MS || document.hidden) return;
    socket.close();
    again();
  }, 500);
  socket.addEventListener("message", (message) => {
    if (over) return;
    heardAt = performance.now();
    delay = 500;
    link("live", "● live");
    show(JSON.parse(message.data));
  });
  socket.addEventListener("close", again);
}

// A page that comes back to the front has not been listening: its silence starts now.
document.addEventListener("visibilitychange", () => {
  heardAt = performance.now();
});
connect();
