import { loadLibrary } from "./library";
import { Painter } from "./painter";
import type { Delegate } from "./engines";

const byId = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const painter = new Painter();
const runtimes = new URL("runtimes/", document.baseURI).href;
const variants = byId<HTMLSelectElement>("variant");
const delegate = byId<HTMLSelectElement>("delegate");

function say(state: string, text: string) {
  byId("status").textContent = text;
  document.body.dataset.state = state;
}

async function paint() {
  const { photo, painting, network } = await painter.ask("paint", {});
  const canvas = byId<HTMLCanvasElement>("stage");
  Object.assign(canvas, { width: painting.width, height: painting.height });
  canvas.getContext("2d")!.drawImage(painting, 0, 0);
  photo.close();
  painting.close();
  say("painted", `${painting.width} × ${painting.height}, ${network.toFixed(0)} ms`);
}

async function open() {
  say("busy", "Opening …");
  const opened = await painter.ask("open", {
    manifest: variants.value, runtimes, delegate: delegate.value as Delegate, longest: 512,
  });
  say("ready", `${opened.runtime} on ${opened.delegate}${opened.fallback && ` (${opened.fallback})`}`);
}

const guard = (action: () => Promise<void>) => () => action().catch((error) => say("failed", error.message));

const models = await loadLibrary(new URL("models/", document.baseURI));
for (const model of models) {
  for (const { url, manifest } of model.variants) variants.append(new Option(manifest.file, url));
}
variants.addEventListener("change", guard(open));
delegate.addEventListener("change", guard(open));
byId<HTMLInputElement>("file").addEventListener("change", guard(async () => {
  const file = byId<HTMLInputElement>("file").files![0];
  say("busy", "Painting …");
  await painter.ask("photo", { file });
  await paint();
}));
await guard(open)();
