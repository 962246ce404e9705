// The networks that came with the page: `models.json` beside it lists their manifests.

import { ENGINES, type Engine } from "./engines";
import { type Contract, type Manifest, parseManifest } from "./manifest";

/** An exported file. */
export interface Variant {
  /** URL of its manifest. */
  url: string;
  manifest: Manifest;
  engine: Engine;
  /** "512", "768 × 512", "512 int8" or "free": what people choose from. */
  size: string;
  /** URL of the manifest of the encoder that makes its style codes, "" where it needs none. */
  encoder: string;
}

/** A network: the files that were exported from it. */
export interface Model {
  name: string;
  contract: Contract;
  thumbnail: string;
  variants: Variant[];
}

export async function loadLibrary(folder: URL): Promise<Model[]> {
  const response = await fetch(new URL("models.json", folder));
  if (!response.ok) throw new Error(`models.json cannot be fetched: the server says ${response.status}`);
  const entries: { manifest: string; thumbnail: string }[] = await response.json();
  const models = new Map<string, Model>();
  for (const entry of entries) {
    const url = new URL(entry.manifest, folder).href;
    const manifest = parseManifest(await (await fetch(url)).json(), entry.manifest);
    const { contract } = manifest;
    if (contract.role === "encoder") continue; // its transformer's manifest names it
    const encoder = contract.role === "transformer" ? new URL(`${contract.code?.encoder}.json`, folder).href : "";
    const model = models.get(contract.model) ?? {
      name: contract.model, contract, thumbnail: new URL(entry.thumbnail, folder).href, variants: [],
    };
    models.set(contract.model, model);
    model.variants.push({ url, manifest, engine: ENGINES[contract.target], size: sizeText(contract), encoder });
  }
  return [...models.values()];
}

function sizeText({ size, scheme }: Contract): string {
  if (size === "dynamic") return "free";
  const pixels = size[0] === size[1] ? `${size[0]}` : `${size[1]} × ${size[0]}`;
  return scheme === "fp32" ? pixels : `${pixels} ${scheme}`;
}
