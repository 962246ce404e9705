// What can be chosen in the strip: networks that have learned a painting, and paintings for those that take any.

import type { Model } from "./library";

/** One tile. */
export interface Tile {
  id: string;
  title: string;
  detail: string;
  picture: string;
  model: Model;
  /** Of a painting, for a network that takes any. */
  code?: number[];
}

/** The tile of a network that came with the page. */
export function tileOf(model: Model): Tile {
  const { contract, name, thumbnail } = model;
  const [first] = contract.styles;
  const code = contract.role === "transformer" ? contract.code?.example : undefined; // of a filter, it is folded in
  const title = first ? contract.styles.map((style) => style.title).join(", ") : "Any painting";
  const detail = first ? [first.artist, first.year].filter(Boolean).join(", ") : "here: an example";
  return { id: name, title, detail, picture: thumbnail, model, code };
}

/** The tile of a painting that somebody has brought. */
export function tileOfPainting(file: File, code: number[], model: Model): Tile {
  const title = file.name.replace(/\.[^.]*$/, "") || "painting";
  return { id: `painting ${file.name} ${code[0]}`, title, detail: "yours", picture: URL.createObjectURL(file), model, code };
}

/** The code between two paintings: 0 is the first, 1 the second; scaled by the strength, because zeros are the photo. */
export function mix(first: number[], second: number[], blend: number, strength: number): number[] {
  return first.map((value, i) => strength * (value * (1 - blend) + second[i] * blend));
}
