// An exported file, opened by what its manifest says.

import { type Delegate, ENGINES, open, obstacle, type Session } from "./engines";
import { type Contract, type Manifest, parseManifest } from "./manifest";
import { type Picture, type Rgba, place, prepare, toRgba, type Window } from "./pixels";
import type { Opened } from "./protocol";
import { toPicture, toTensor } from "./tensors";

const TITLES: Record<Delegate, string> = { wasm: "WebAssembly", webgpu: "WebGPU", webnn: "WebNN" };

export class Network {
  private constructor(
    private readonly contract: Contract,
    private readonly session: Session,
    /** Long side of the picture, in pixels, for a file of free size. */
    private readonly longest: number,
  ) {}

  /** Open a file on a delegate; on the CPU where that does not work, and then with the reason. */
  static async open(url: string, runtimes: string, delegate: Delegate, longest: number): Promise<[Network, Opened]> {
    const manifest = parseManifest(await (await get(url)).json(), url);
    const engine = ENGINES[manifest.contract.target];
    if (!engine) throw new Error(`${manifest.file} is for ${manifest.contract.target}, which no browser runs`);
    const model = await fetchFile(manifest, url);
    const began = performance.now();
    let fallback = await obstacle(delegate);
    let session: Session | undefined;
    if (!fallback) {
      try {
        session = await open(engine, delegate, model, runtimes);
      } catch (error) {
        if (delegate === "wasm") throw new Error(`${manifest.file} cannot be opened: ${message(error)}`);
        fallback = message(error);
      }
    }
    session ??= await open(engine, "wasm", model, runtimes);
    const network = new Network(manifest.contract, session, longest);
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

  async run(picture: Picture): Promise<{ painted: Picture; network: number }> {
    const { input, output } = this.contract;
    const tensor = toTensor(picture, input);
    const began = performance.now();
    const result = await this.session.run({ [input.name]: tensor });
    const network = performance.now() - began;
    return { painted: toPicture(result, output), network };
  }

  close(): void {
    this.session.close();
  }
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
