// What the page and its worker tell each other.

import type { Delegate, Placement } from "./engines";

export interface Opened extends Placement {
  /** Why another delegate than the wanted one runs it, or "". */
  fallback: string;
  /** From the file's bytes to a network that is ready to run, in milliseconds. */
  milliseconds: number;
  /** What has been fetched for it, by URL: files, manifests, runtimes. */
  fetched: string[];
}

export interface Painted {
  /** The photo at the size of the painting. */
  photo: ImageBitmap;
  painting: ImageBitmap;
  /** Of the network alone, with upload and readback, and of everything, in milliseconds. */
  network: number;
  total: number;
}

/** What this device makes of the golden bundle; see docs/manifest.md. */
export interface Checked {
  /** Largest difference of a value of the photo's tensor, and what is allowed; from 0 to 1. */
  error: number;
  mostError: number;
  /** How near the painting is to the float network's, and what is asked for, in dB. */
  psnr: number;
  leastPsnr: number;
}

/** What can be asked for, and what comes back. Requests are done one after another. */
export interface Requests {
  /** Open the file of a manifest (by URL) in place of what is open. */
  open: { ask: { manifest: string; runtimes: string; delegate: Delegate; longest: number }; reply: Opened };
  /** Decode a photo and keep it for "paint". */
  photo: { ask: { file: Blob }; reply: { height: number; width: number } };
  /** Paint the photo that is kept. */
  paint: { ask: Record<string, never>; reply: Painted };
  /** Paint a picture of the camera, which is used up. */
  frame: { ask: { bitmap: ImageBitmap; mirror: boolean }; reply: Painted };
  /** The style code of a painting, by the encoder of a manifest. */
  encode: { ask: { file: Blob; manifest: string; runtimes: string }; reply: number[] };
  /** The style code to paint by from now on. */
  style: { ask: { code: number[] }; reply: null };
  /** Run the golden bundle on what is open. */
  check: { ask: Record<string, never>; reply: Checked };
}

export type Kind = keyof Requests;

export type Request = { [K in Kind]: { id: number; kind: K } & Requests[K]["ask"] }[Kind];
export type Reply = { id: number; value?: unknown; error?: string };
