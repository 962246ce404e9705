// What the page reads of a manifest: docs/manifest.md describes it whole.

/** One input or output of a file. */
export interface TensorSpec {
  name: string;
  kind: "tensor" | "image";
  shape: (number | string)[];
  layout: "NCHW" | "NHWC" | "NC";
  dtype: "float32" | "float16" | "uint8";
  /** Smallest and largest value. */
  range: [number, number];
  channels: "RGB" | "code";
}

export interface Style {
  name: string;
  title: string;
  artist: string;
  year: string;
}

/** What a style encoder gives and its transformer takes: numbers of which 0 everywhere stands for the photo itself. */
export interface StyleCode {
  length: number;
  /** The file that gives such codes. */
  encoder: string;
  /** The code that is painted by where no other is given. */
  example: number[];
}

/** Files that prove this code right, beside the exported file. */
export interface Golden {
  size: [number, number];
  photo: GoldenFile;
  tensor: GoldenFile;
  max_error: number;
  input: GoldenFile;
  expected: GoldenFile;
  min_psnr_db: number;
}

export interface GoldenFile {
  name: string;
  sha256: string;
}

export interface Contract {
  schema_version: number;
  model: string;
  role?: "filter" | "encoder" | "transformer";
  /** Of an encoder and its transformer; of a filter, what has been folded in. */
  code?: StyleCode | null;
  target: string;
  scheme: string;
  styles: Style[];
  input: TensorSpec;
  output: TensorSpec;
  /** Height and width in pixels. */
  size: [number, number] | "dynamic";
  size_multiple: number;
  resize: string;
  licence: string;
}

export interface Manifest {
  contract: Contract;
  file: string;
  sha256: string;
  bytes: number;
  golden: Golden;
}

/** The manifest in a JSON value, or an error that says why this page cannot read it. */
export function parseManifest(value: unknown, source: string): Manifest {
  const manifest = value as Manifest;
  const contract = manifest?.contract;
  if (!contract || !manifest.file || !contract.input || !contract.output) throw new Error(`${source} is not a manifest`);
  if (contract.schema_version !== 1) throw new Error(`${source} is of version ${contract.schema_version}; this page reads 1`);
  const pictures = contract.role === "encoder" ? [contract.input] : [contract.input, contract.output];
  for (const { name, channels, layout } of pictures) {
    if (channels !== "RGB" || !["NCHW", "NHWC"].includes(layout)) {
      throw new Error(`${source}: ${name} is ${channels} ${layout}; this page knows RGB as NCHW or NHWC`);
    }
  }
  if (!["fit-pad-reflect", "pad-reflect"].includes(contract.resize)) {
    throw new Error(`${source}: this page does not know how to resize by "${contract.resize}"`);
  }
  return manifest;
}
