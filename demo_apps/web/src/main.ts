// The page: what people do with it, and what it says.
//
// `data-*` of <body> tell where it stands, for styles and tests: state (loading, busy, idle, failed), source (photo,
// camera), delegate, paintings (how many have been shown), recording (on, paused), offline.

import { Camera } from "./camera";
import { type Choice, Choices } from "./choices";
import type { Delegate, Engine } from "./engines";
import { loadLibrary, type Model, type Variant } from "./library";
import { OfflineCopy } from "./offline";
import { Painter } from "./painter";
import type { Opened, Painted } from "./protocol";
import { Recorder } from "./recorder";
import { Stage } from "./stage";
import { mix, type Tile, tileOf, tileOfPainting } from "./styles";

const MODELS = new URL("models/", document.baseURI);
const RUNTIMES = new URL("runtimes/", document.baseURI).href;
/** Long sides to choose from for files of free size, in pixels. */
const FREE_SIZES = ["256", "384", "512", "768", "1024"];
const ENGINE_TITLES: Record<Engine, string> = { "onnxruntime-web": "ONNX Runtime", litert: "LiteRT" };
const DELEGATE_TITLES: Record<Delegate, string> = { wasm: "CPU", webgpu: "WebGPU", webnn: "WebNN" };
const DELEGATES: Delegate[] = ["wasm", "webgpu", "webnn"];

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const button = (id: string) => byId<HTMLButtonElement>(id);
const range = (id: string) => byId<HTMLInputElement>(id);
const data = document.body.dataset;

const painter = new Painter();
const stage = new Stage(byId<HTMLCanvasElement>("stage"));
const camera = new Camera();
const recorder = new Recorder(stage.canvas);
const offline = new OfflineCopy(showOffline);

let tiles: Tile[] = [];
/** What has been chosen. */
const chosen = { tile: "", other: "", engine: "onnxruntime-web" as Engine, delegate: "wasm" as Delegate, size: "" };
/** Counts openings, so that one that is overtaken by the next says nothing. */
let opening = 0;
let opened: Opened | undefined;

// What the page says ------------------------------------------------------------------------------------------------

function say(state: "loading" | "busy" | "idle" | "failed", text: string): void {
  byId("status").textContent = text;
  data.state = state;
}

function warn(text: string): void {
  byId("warning").textContent = text;
}

/** Do something that people asked for; where it fails, say why. */
function attempt(action: () => Promise<void>): void {
  warn("");
  action().catch((error: Error) => {
    warn(error.message);
    say("failed", opened ? "The picture before is still there." : "");
  });
}

function showOffline(state: string, reason: string): void {
  const texts: Record<string, string> = {
    unsupported: "Online only", keeping: "Saving for offline …", ready: "Works offline", failed: "Online only",
  };
  byId("offline").textContent = texts[state];
  byId("offline").title = reason;
  data.offline = state;
}

function show(painted: Painted): void {
  stage.show(painted);
  byId("frame").style.setProperty("--aspect", String(stage.canvas.width / stage.canvas.height));
  byId("latency").textContent = `${Math.round(painted.network)} ms`;
  data.paintings = String(Number(data.paintings ?? 0) + 1);
  button("save").disabled = false;
}

function showOpened(about: Opened): void {
  const { delegate, threads, adapter, software, fallback } = about;
  const cpu = threads > 1 ? `CPU, ${threads} threads` : "CPU, 1 thread";
  const where = delegate === "wasm" ? cpu : `${DELEGATE_TITLES[delegate]}${adapter && `, ${adapter}`}`;
  byId("where").textContent = `${where}${software ? " (emulated)" : ""}`;
  data.delegate = delegate;
  if (fallback) warn(`Runs on the CPU instead. ${fallback}.`);
}

// Networks ----------------------------------------------------------------------------------------------------------

const tile = () => tiles.find(({ id }) => id === chosen.tile)!;
const model = (): Model => tile().model;

const sizesOf = (variant: Variant) => (variant.size === "free" ? FREE_SIZES : [variant.size]);

const largest = (sizes: string[]) => sizes.reduce((most, size) => (parseInt(size) > parseInt(most) ? size : most));

/** The file that is wanted: of the chosen engine and size, or the nearest to that. */
function variant(): Variant {
  const { variants } = model();
  if (!variants.some(({ engine }) => engine === chosen.engine)) chosen.engine = variants[0].engine;
  const fitting = variants.filter(({ engine }) => engine === chosen.engine);
  const sizes = fitting.flatMap(sizesOf);
  if (!sizes.includes(chosen.size)) chosen.size = sizes.find((size) => parseInt(size) >= 384) ?? largest(sizes);
  return fitting.find((one) => sizesOf(one).includes(chosen.size))!;
}

/** Open what is chosen, and paint the photo anew. */
async function open(): Promise<void> {
  const mine = ++opening;
  const wanted = variant();
  fillChoices();
  say("busy", "Opening the network …");
  const longest = parseInt(chosen.size);
  const about = await painter.ask("open", { manifest: wanted.url, runtimes: RUNTIMES, delegate: chosen.delegate, longest });
  if (mine !== opening) return;
  opened = about;
  showOpened(about);
  void offline.keep(about.fetched);
  await restyle();
  if (mine === opening && !camera.on) await paintWhatFits();
}

/** Paint; where the memory does not suffice, at the next smaller size. */
async function paintWhatFits(): Promise<void> {
  try {
    await paint();
  } catch (error) {
    const [wanted, smaller] = [chosen.size, smallerSize()];
    if (!/memory|alloc/i.test((error as Error).message) || !smaller) throw error;
    chosen.size = smaller;
    await open();
    warn(`There is not enough memory for ${wanted} pixels; painted at ${smaller} instead.`);
  }
}

function smallerSize(): string | undefined {
  const sizes = model().variants.filter(({ engine }) => engine === chosen.engine).flatMap(sizesOf);
  const smaller = sizes.filter((size) => parseInt(size) < parseInt(chosen.size));
  return smaller.sort((a, b) => parseInt(b) - parseInt(a))[0];
}

async function paint(): Promise<void> {
  say("busy", "Painting …");
  const painted = await painter.ask("paint", {});
  const size = `${painted.painting.width} × ${painted.painting.height} pixels`;
  const time = `${Math.round(painted.total)} ms in all`;
  show(painted);
  byId("fps").textContent = "–";
  say("idle", `Painted: ${size}, ${time}.`);
}

/** Tell a network that takes any painting by which to paint. */
async function restyle(): Promise<void> {
  const { code } = tile();
  stage.strength = code ? 1 : strength();
  if (!code) return;
  const other = tiles.find(({ id }) => id === chosen.other)?.code ?? code;
  await painter.ask("style", { code: mix(code, other, Number(range("blend").value) / 100, strength()) });
}

const strength = () => Number(range("strength").value) / 100;

function fillChoices(): void {
  const coded = tiles.filter(({ code }) => code);
  strip.fill(tiles.map(({ id, title, detail, picture }) => ({ value: id, label: title, detail, picture })), chosen.tile);
  if (coded.length) byId("styles").querySelector(".choices")!.append(addPainting);
  const others = coded.filter(({ id }) => id !== chosen.tile);
  byId("blending").hidden = !tile().code || !others.length;
  if (!others.some(({ id }) => id === chosen.other)) chosen.other = others[0]?.id ?? "";
  byId("other").replaceChildren(...others.map(({ id, title }) => new Option(title, id, false, id === chosen.other)));
  const { variants } = model();
  const some = new Set(variants.map(({ engine }) => engine));
  engines.fill([...some].map((engine) => ({ value: engine, label: ENGINE_TITLES[engine] })), chosen.engine);
  const fitting = new Set(variants.filter(({ engine }) => engine === chosen.engine).flatMap(sizesOf));
  sizes.fill([...fitting].map((size) => ({ value: size, label: size })), chosen.size);
  delegates.fill(DELEGATES.map(delegateChoice), chosen.delegate);
  sizes.disabled = recorder.on; // a video has one size
  const { styles, licence } = model().contract;
  byId("about").textContent = [...styles.map(({ title, artist }) => [title, artist].filter(Boolean).join(", ")), licence].join(". ");
}

function delegateChoice(delegate: Delegate): Choice {
  const there: Record<Delegate, boolean> = { wasm: true, webgpu: "gpu" in navigator, webnn: "ml" in navigator };
  const lacking = there[delegate] ? "" : `this browser offers no ${DELEGATE_TITLES[delegate]}`;
  return { value: delegate, label: DELEGATE_TITLES[delegate], lacking };
}

const strip = new Choices(byId("styles").querySelector(".choices")!, (value) => {
  chosen.tile = value;
  attempt(open);
});
const engines = new Choices(byId("engines"), (value) => {
  chosen.engine = value as Engine;
  attempt(open);
});
const delegates = new Choices(byId("delegates"), (value) => {
  chosen.delegate = value as Delegate;
  attempt(open);
});
const sizes = new Choices(byId("sizes"), (value) => {
  chosen.size = value;
  attempt(open);
});

const addPainting = Object.assign(document.createElement("button"), {
  type: "button", id: "add-painting", textContent: "Your own painting",
});
addPainting.addEventListener("click", () => byId("painting").click());

range("painting").addEventListener("change", () => {
  const [file] = range("painting").files!;
  range("painting").value = "";
  if (file) attempt(() => addStyle(file));
});

/** Any picture as the style, where there is a network that takes any. */
async function addStyle(file: File): Promise<void> {
  const taker = tiles.find(({ code }) => code)!.model;
  say("busy", "Looking at the painting …");
  const { encoder } = taker.variants.find(({ engine }) => engine === chosen.engine) ?? taker.variants[0];
  const code = await painter.ask("encode", { file, manifest: encoder, runtimes: RUNTIMES });
  tiles.push(tileOfPainting(file, code, taker));
  chosen.tile = tiles[tiles.length - 1].id;
  await open();
}

// Photos ------------------------------------------------------------------------------------------------------------

async function usePhoto(file: Blob): Promise<void> {
  say("busy", "Reading the photo …");
  await painter.ask("photo", { file });
  if (camera.on) await stopCamera();
  data.source = "photo";
  if (opened) await paint();
}

button("photo").addEventListener("click", () => byId("file").click());
range("file").addEventListener("change", () => {
  const [file] = range("file").files!;
  range("file").value = ""; // so that the same one can be chosen again
  if (file) attempt(() => usePhoto(file));
});
document.addEventListener("paste", ({ clipboardData }) => {
  const file = [...(clipboardData?.files ?? [])].find(({ type }) => type.startsWith("image/"));
  if (file) attempt(() => usePhoto(file));
  else warn("There is no picture on the clipboard.");
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"] as const) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    data.dragging = String(name === "dragenter" || name === "dragover");
    const file = name === "drop" ? event.dataTransfer?.files[0] : undefined;
    if (file) attempt(() => usePhoto(file));
  });
}

// Camera ------------------------------------------------------------------------------------------------------------

button("camera").addEventListener("click", () => attempt(camera.on ? leaveCamera : startCamera));
button("flip").addEventListener("click", () => attempt(() => camera.flip()));
camera.onLost = () => attempt(async () => {
  await leaveCamera();
  warn("The camera has gone. The last picture is still there.");
});

async function startCamera(): Promise<void> {
  if (!opened) throw new Error("There is no network to paint with yet.");
  await camera.start();
  data.source = "camera";
  button("camera").setAttribute("aria-pressed", "true");
  button("record").disabled = !Recorder.type;
  button("record").title = Recorder.type ? "" : "This browser cannot record.";
  button("flip").hidden = !(await camera.canFlip());
  say("busy", "The camera is on.");
  void follow();
}

/** Paint picture after picture, each as soon as the one before is done. */
async function follow(): Promise<void> {
  const times: number[] = [];
  try {
    for (let bitmap = await camera.next(); bitmap; bitmap = await camera.next()) {
      const painted = await painter.ask("frame", { bitmap, mirror: camera.mirror }, [bitmap]);
      if (!camera.on) return;
      show(painted);
      times.push(performance.now());
      if (times.length > 12) times.shift();
      if (times.length > 1) byId("fps").textContent = `${rate(times)} fps`;
      data.state = "idle";
    }
  } catch (error) {
    await stopCamera();
    warn(`The camera was stopped: ${(error as Error).message}`);
    say("failed", "");
  }
}

function rate(times: number[]): string {
  const perSecond = ((times.length - 1) * 1000) / (times[times.length - 1] - times[0]);
  return perSecond < 10 ? perSecond.toFixed(1) : perSecond.toFixed(0);
}

async function stopCamera(): Promise<void> {
  if (recorder.on) await stopRecording();
  camera.stop();
  data.source = "photo";
  button("camera").setAttribute("aria-pressed", "false");
  button("record").disabled = true;
  button("flip").hidden = true;
}

async function leaveCamera(): Promise<void> {
  await stopCamera();
  say("idle", "The camera is off.");
}

// Saving ------------------------------------------------------------------------------------------------------------

function download(file: Blob, name: string): void {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

button("save").addEventListener("click", () => attempt(async () => {
  download(await stage.toPng(), `${model().name}.png`);
}));

button("record").addEventListener("click", () => attempt(async () => (recorder.on ? stopRecording() : startRecording())));

let clock = 0;

function startRecording(): void {
  recorder.start();
  sizes.disabled = true;
  button("record").setAttribute("aria-pressed", "true");
  data.recording = "on";
  let seconds = 0;
  byId("timer").hidden = false;
  byId("timer").textContent = "0:00";
  clock = window.setInterval(() => {
    if (!recorder.paused) seconds++;
    byId("timer").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }, 1000);
}

async function stopRecording(): Promise<void> {
  clearInterval(clock);
  byId("timer").hidden = true;
  button("record").setAttribute("aria-pressed", "false");
  delete data.recording;
  sizes.disabled = false;
  const video = await recorder.stop();
  download(video, `${model().name}.${video.type.includes("mp4") ? "mp4" : "webm"}`);
  byId("status").textContent = `Recorded ${(video.size / 1e6).toFixed(1)} MB.`;
}

document.addEventListener("visibilitychange", () => {
  if (!recorder.on) return;
  if (document.hidden) recorder.pause();
  else recorder.resume();
  data.recording = recorder.paused ? "paused" : "on";
  warn(recorder.paused ? "" : "The recording paused while this tab was hidden, and goes on.");
});

// Sliders and tools -------------------------------------------------------------------------------------------------

function onSlide(id: string, action: (value: number) => void): void {
  range(id).addEventListener("input", () => action(Number(range(id).value)));
}

function showDivider(percent: number): void {
  stage.divider = percent / 100;
  byId("frame").style.setProperty("--divider", `${percent}%`);
  data.divider = percent < 12 ? "left" : percent > 88 ? "right" : "middle";
  stage.draw();
}

/** A photo is painted anew while a slider moves: once at a time, and once more where it has moved meanwhile. */
let repainting = false;
let moved = false;

function restyleSoon(): void {
  moved = true;
  if (!tile()?.code) {
    stage.strength = strength();
    stage.draw();
  } else if (!repainting) {
    attempt(repaint);
  }
}

async function repaint(): Promise<void> {
  repainting = true;
  try {
    for (moved = true; moved; ) {
      moved = false;
      say("busy", "Painting …");
      await restyle();
      if (!camera.on) await paint();
    }
  } finally {
    repainting = false;
  }
}

onSlide("divider", showDivider);
onSlide("strength", (percent) => {
  byId("strength-value").textContent = `${percent} %`;
  restyleSoon();
});
onSlide("blend", (percent) => {
  byId("blend-value").textContent = `${percent} %`;
  restyleSoon();
});
byId("other").addEventListener("change", () => {
  chosen.other = byId<HTMLSelectElement>("other").value;
  restyleSoon();
});

button("check").addEventListener("click", () => attempt(async () => {
  byId("checked").textContent = "Checking …";
  delete data.checked;
  const { error, mostError, psnr, leastPsnr } = await painter.ask("check", {});
  const passed = error <= mostError && psnr >= leastPsnr;
  byId("checked").textContent =
    `${passed ? "Passed" : "FAILED"}. The photo is read and resized to within ${(error * 255).toFixed(2)}/255 ` +
    `(allowed: ${(mostError * 255).toFixed(0)}); the painting is ${psnr.toFixed(1)} dB from that of the network ` +
    `in training (needed: ${leastPsnr.toFixed(0)}).`;
  data.checked = passed ? "passed" : "failed";
}));

button("keep").addEventListener("click", () => attempt(() => offline.keep([], true)));

// Start -------------------------------------------------------------------------------------------------------------

async function start(): Promise<void> {
  void offline.start();
  showDivider(50);
  const library = await loadLibrary(MODELS);
  if (!library.length) throw new Error("No network came with this page; make it again with 'edgestyle demo web'.");
  tiles = library.map(tileOf);
  chosen.tile = tiles[0].id;
  const { url, manifest } = variant();
  const sample = await fetch(new URL(manifest.golden.photo.name, url));
  await usePhoto(await sample.blob());
  await open();
}

attempt(start);
