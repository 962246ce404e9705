// An exported file, opened by what its manifest says.

import { type Delegate, ENGINES, open, obstacle, type Session } from "./engines";
import { decode } from "./decode";
import { type Contract, type GoldenFile, type Manifest, parseManifest } from "./manifest";
import { fromRgba, type Picture, type Rgba, place, prepare, squares, toRgba, type Window } from "./pixels";
import type { Checked, Opened } from "./protocol";
import { toPicture, toTensor } from "./tensors";

/** What a style code is called in every file. */
const CODE = "code";
const TITLES: Record<Delegate, string> = { wasm: "WebAssembly", webgpu: "WebGPU", webnn: "WebNN" };

/** How long a free file's picture may be where nothing limits it. */
const UNLIMITED = Number.MAX_SAFE_INTEGER;

export class Network {
  /** The style code of a transformer. */
  code: Float32Array;

  private constructor(
    private readonly url: string,
    private readonly manifest: Manifest,
    private readonly session: Session,
    /** Long side of the picture, in pixels, for a file of free size. */
    private readonly longest: number,
  ) {
    const { role, code } = manifest.contract;
    this.code = Float32Array.from(role === "transformer" && code ? code.example : []);
  }

  private get contract(): Contract {
    return this.manifest.contract;
  }

  /** Open a file on a delegate; on the CPU where that does not work, and then with the reason. */
  static async open(
    url: string, runtimes: string, delegate: Delegate, longest = UNLIMITED,
  ): Promise<[Network, Omit<Opened, "fetched">]> {
    const manifest = parseManifest(await (await get(url)).json(), url);
    const engine = ENGINES[manifest.contract.target];
    if (!engine) throw new Error(`${manifest.file} is for ${manifest.contract.target}, which no browser runs`);
    const model = await fetchFile(manifest, url);
    const began = performance.now();
    let fallback = await obstacle(delegate);
    let session: Session | undefined;
    if (!fallback && delegate !== "wasm") {
      try {
        session = await open(engine, delegate, model, runtimes);
      } catch (error) {
        fallback = message(error);
      }
    }
    try {
      session ??= await open(engine, "wasm", model, runtimes);
    } catch (error) {
      throw new Error(`${manifest.file} cannot be opened: ${message(error)}`);
    }
    const network = new Network(url, manifest, session, longest);
    const milliseconds = performance.now() - began;
    return [network, { ...session.placement, fallback: fallback && `${TITLES[delegate]}: ${fallback}`, milliseconds }];
  }

  /** Where a photo comes to lie in the network's input. */
  place(photo: { height: number; width: number }): Window {
    return place(photo, this.contract.size, this.longest);
  }

  /** The photo at the painting's size, the painting, and how long the network took in milliseconds. */
  async paint(pixels: Rgba): Promise<{ photo: ImageData; painting: ImageData; network: number }> {
    const { size, size_multiple } = this.contract;
    const { picture, window } = prepare(pixels, size, size_multiple, this.longest);
    const { painted, network } = await this.run(picture);
    return { photo: toRgba(picture, window), painting: toRgba(painted, window), network };
  }

  private async run(picture: Picture): Promise<{ painted: Picture; network: number }> {
    const { input, output } = this.contract;
    const inputs = { [input.name]: toTensor(picture, input) };
    if (this.code.length) inputs[CODE] = { type: "float32", dims: [1, this.code.length], data: this.code };
    const began = performance.now();
    const result = await this.session.run(inputs);
    const network = performance.now() - began;
    return { painted: toPicture(result, output), network };
  }

  /** Of an encoder: the style code of a painting, the mean of its squares'. */
  async encode(painting: Rgba): Promise<number[]> {
    const { input, size } = this.contract;
    if (size === "dynamic") throw new Error(`${this.manifest.file} is of free size; an encoder must have a fixed one`);
    const codes: number[][] = [];
    for (const square of squares(painting, size[0])) {
      codes.push(Array.from((await this.session.run({ [input.name]: toTensor(square, input) })).data));
    }
    return codes[0].map((_, i) => codes.reduce((sum, code) => sum + code[i], 0) / codes.length);
  }

  /** Run the golden bundle: this page's own decoding and resizing, and its own call of the file. */
  async check(): Promise<Checked> {
    const { golden, contract } = this.manifest;
    if (!golden?.photo) throw new Error(`the manifest of ${this.manifest.file} has no golden bundle`);
    const load = async ({ name }: GoldenFile) => (await get(new URL(name, this.url).href)).blob();
    const { picture } = prepare(await decode(await load(golden.photo)), contract.size, contract.size_multiple, UNLIMITED);
    const tensor = new Float32Array(await (await load(golden.tensor)).arrayBuffer());
    const { painted } = await this.run(fromRgba(await decode(await load(golden.input))));
    const expected = fromRgba(await decode(await load(golden.expected)));
    const [height, width] = golden.size;
    const seen = fromRgba(toRgba(painted, { top: 0, left: 0, height, width }));
    return {
      error: largestError(picture.data, tensor),
      mostError: golden.max_error,
      psnr: psnr(seen.data, expected.data),
      leastPsnr: golden.min_psnr_db,
    };
  }

  close(): void {
    this.session.close();
  }
}

function largestError(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return 1;
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

/** In dB, of values from 0 to 1; capped at 99 for pictures that are the same. */
function psnr(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return 0;
  const sum = a.reduce((total, value, i) => total + (value - b[i]) ** 2, 0);
  return Math.min(99, -10 * Math.log10(sum / a.length));
}

/** The file that a manifest describes, and no other. */
async function fetchFile(manifest: Manifest, url: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(await (await get(new URL(manifest.file, url).href)).arrayBuffer());
  if (!crypto.subtle) return bytes; // an insecure page: there is nothing to check it with
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== manifest.sha256) {
    throw new Error(`${manifest.file} is not the file that its manifest describes: it is damaged, or of another export`);
  }
  return bytes;
}

async function get(url: string): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch {
    throw new Error(`${name(url)} cannot be fetched: there is no connection, and it has not been kept on this device`);
  }
  if (!response.ok) throw new Error(`${name(url)} cannot be fetched: the server says ${response.status}`);
  return response;
}

const name = (url: string) => new URL(url).pathname.split("/").pop();

/** What an error says, in one line. */
export function message(error: unknown): string {
  const text = String((error as Error)?.message ?? error).split("\n")[0].trim();
  return text.length > 200 ? `${text.slice(0, 200)} …` : text;
}
