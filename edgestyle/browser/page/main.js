// The page: joins, lists the jobs that the server sends, does them, and posts the result of each.
//
// URL parameters: `start` begins at once and does every job as it comes; `delegate` and `engine` (repeatable) choose.

import { describeDevice } from "./device.js";
import { obstacle } from "./engines.js";
import { perform } from "./jobs.js";

const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const rows = []; // of jobs, as they come: {job, item, box}
let token = "";
let events = null; // from the server; while it is open, this device is there
let current = null; // the job being done, and its result so far
let complete = false; // no further job will come
let wake = () => {}; // tells the worker of news

// Talking to the server -------------------------------------------------------------------------------------------

async function post(path, body, options = {}) {
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/octet-stream" };
  const response = await fetch(`api/${path}`, { method: "POST", headers, body, ...options });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response;
}

async function join() {
  const info = await describeDevice();
  byId("device").textContent = [
    info.name, info.cores && `${info.cores} cores`, info.adapter ? `WebGPU: ${info.adapter.name}` : "no WebGPU",
  ].filter(Boolean).join(" · ");
  if (!info.secure) {
    warn("The browser does not take this page for secure: it gives no WebGPU and one thread only. Open it by https.");
  }
  token = (await (await post("devices", JSON.stringify(info))).json()).token;
  events = new EventSource(`api/jobs?token=${token}`);
  events.onmessage = ({ data }) => list(JSON.parse(data));
  events.addEventListener("end", () => {
    if (complete) return;
    complete = true;
    if (query.has("start")) wake();
    else ready();
  });
}

addEventListener("pagehide", () => {
  if (!current) return;
  const { job, result } = current;
  post(`results/${job.id}`, JSON.stringify({ ...result, status: "partial", error: "the page was left" }), { keepalive: true });
});

// The list --------------------------------------------------------------------------------------------------------

function list(job) {
  if (rows.some((row) => row.job.id === job.id)) return;
  const item = document.createElement("li");
  const label = item.appendChild(document.createElement("label"));
  const box = label.appendChild(Object.assign(document.createElement("input"), { type: "checkbox" }));
  const text = label.appendChild(document.createElement("span"));
  const add = (parent, className, content) =>
    parent.appendChild(Object.assign(document.createElement("span"), { className, textContent: content }));
  add(text, "name", job.name);
  text.append(document.createElement("br"));
  add(text, "detail", `${job.engine} · ${job.delegate}`);
  add(label, "figure", "");
  const chosen = (key) => !query.has(key) || query.getAll(key).includes(job[key]);
  box.checked = chosen("engine") && chosen("delegate");
  rows.push({ job, item, box });
  byId("jobs").append(item);
  wake();
}

function show({ item }, figure, detail, failed = false) {
  item.querySelector(".figure").textContent = figure;
  if (detail) item.querySelector(".detail").textContent = detail;
  item.classList.toggle("failed", failed);
}

async function ready() {
  for (const row of rows) {
    const reason = await obstacle(row.job.delegate);
    if (!reason) continue;
    row.box.disabled = true;
    show(row, "–", `${row.job.engine} · ${row.job.delegate}: ${reason}`);
  }
  say("Choose, and keep the page open until it has finished.");
  byId("start").disabled = false;
}

const say = (text) => (byId("status").textContent = text);

function warn(text) {
  byId("warning").textContent = text;
  byId("warning").hidden = false;
}

// Doing them ------------------------------------------------------------------------------------------------------

async function work() {
  byId("start").disabled = true;
  byId("start").textContent = "Measuring …";
  byId("progress").hidden = false;
  keepAwake();
  document.addEventListener("visibilitychange", keepAwake);
  for (let next = 0; next < rows.length || !complete; ) {
    if (next === rows.length) await new Promise((resolve) => (wake = resolve));
    else await doRow(rows[next++]);
  }
  document.removeEventListener("visibilitychange", keepAwake);
  events.close();
  await post("done");
  say("Finished. The results are on the computer; this page may be closed.");
  byId("start").textContent = "Finished";
}

async function doRow(row) {
  const { job, box, item } = row;
  box.disabled = true;
  if (!box.checked) return;
  item.scrollIntoView({ block: "nearest" });
  const done = rows.indexOf(row);
  Object.assign(byId("progress"), { value: done, max: rows.length });
  say(`${job.name}, ${job.engine} on ${job.delegate} (${done + 1} of ${rows.length})`);
  const result = { status: "done", warmup_ms: [], samples_ms: [] };
  current = { job, result };
  try {
    const reason = await obstacle(job.delegate);
    if (reason) throw Object.assign(new Error(reason), { status: "unavailable" });
    const output = await perform(job, result, (text) => show(row, text));
    if (output) await post(`outputs/${job.id}`, output.data);
    show(row, result.samples_ms.length ? `${format(median(result.samples_ms))} ms` : "done");
  } catch (error) {
    const text = String(error?.message ?? error).slice(0, 500);
    const status = error?.status ?? (text.includes("the device does not support") ? "unavailable" : "failed"); // as fp16 shaders
    Object.assign(result, { status, error: text });
    const failed = result.status === "failed";
    show(row, failed ? "failed" : "–", `${job.engine} · ${job.delegate}: ${result.error}`, failed);
  }
  current = null;
  await post(`results/${job.id}`, JSON.stringify(result));
  byId("progress").value = done + 1;
}

/** A phone that locks its screen slows down or stops. */
async function keepAwake() {
  if (document.visibilityState === "visible") await navigator.wakeLock?.request("screen").catch(() => null);
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const format = (ms) => (ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0));

const lost = (error) => {
  say("It ended early. Reload the page to try again.");
  warn(`The computer cannot be reached, or has finished: ${error.message}`);
};

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  work().catch(lost);
});

try {
  await join();
  if (query.has("start")) await work();
} catch (error) {
  lost(error);
}
