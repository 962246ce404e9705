// The two runtimes behind one face. Both are fetched from beside the page when they are first needed.

import type { Tensor } from "./tensors";

export type Engine = "onnxruntime-web" | "litert";
export type Delegate = "wasm" | "webgpu" | "webnn";

/** What opens the files of a target. */
export const ENGINES: Record<string, Engine> = { onnx: "onnxruntime-web", tflite: "litert" };

/** What a file really runs on. */
export interface Placement {
  delegate: Delegate;
  runtime: string;
  /** Of the CPU; 0 on others. */
  threads: number;
  /** Graphics adapter, "" on others. */
  adapter: string;
  /** The adapter is emulated on the CPU. */
  software: boolean;
}

export interface Session {
  placement: Placement;
  run(inputs: Record<string, Tensor>): Promise<Tensor>;
  close(): void;
}

const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 4) : 1;

/** Why a delegate cannot work here, or "". */
export async function obstacle(delegate: Delegate): Promise<string> {
  const insecure = isSecureContext ? "" : "; browsers offer it to pages opened by https or on localhost only";
  const { gpu, ml } = navigator as { gpu?: { requestAdapter(): Promise<unknown> }; ml?: unknown };
  if (delegate === "webgpu" && !gpu) return `this browser offers no WebGPU${insecure}`;
  if (delegate === "webgpu" && !(await gpu!.requestAdapter())) return "WebGPU finds no graphics adapter here";
  if (delegate === "webnn" && !ml) return `this browser offers no WebNN${insecure}`;
  return "";
}

/** Open a file. `runtimes` is the folder of the runtimes, with a slash at its end. */
export function open(engine: Engine, delegate: Delegate, model: Uint8Array, runtimes: string): Promise<Session> {
  return engine === "litert" ? openLiteRt(delegate, model, runtimes) : openOnnx(delegate, model, runtimes);
}

function describe(info?: { vendor: string; architecture: string; description: string; isFallbackAdapter?: boolean }) {
  if (!info) return { adapter: "", software: false };
  const software = Boolean(info.isFallbackAdapter) || info.architecture === "swiftshader";
  return { adapter: info.description || [info.vendor, info.architecture].filter(Boolean).join(" "), software };
}

// ONNX Runtime ------------------------------------------------------------------------------------------------------

async function openOnnx(delegate: Delegate, model: Uint8Array, runtimes: string): Promise<Session> {
  // Builds apart: the one with WebGPU and WebNN can suspend itself, which makes its CPU kernels slower.
  const build = delegate === "wasm" ? "ort.wasm.min.mjs" : "ort.webgpu.min.mjs";
  const folder = `${runtimes}onnxruntime-web/`;
  const ort = await import(/* @vite-ignore */ folder + build);
  ort.env.wasm.wasmPaths = folder;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model, { executionProviders: [delegate], logSeverityLevel: 3 });
  const device = delegate === "webgpu" ? await ort.env.webgpu.device : undefined;
  return {
    placement: {
      delegate,
      runtime: `onnxruntime-web ${ort.env.versions.web}`,
      threads: delegate === "wasm" ? ort.env.wasm.numThreads : 0,
      ...describe(device?.adapterInfo),
    },
    async run(inputs) {
      const feeds = Object.entries(inputs).map(([name, { type, dims, data }]) => [name, new ort.Tensor(type, data, dims)]);
      const outputs = await session.run(Object.fromEntries(feeds));
      const output = outputs[session.outputNames[0]];
      return { type: output.type, dims: [...output.dims], data: await output.getData(true) };
    },
    close: () => void session.release(),
  };
}

// What LiteRT tells of its doings comes as errors; a page that is well should say nothing.
const complain = console.error;
console.error = (...words) => /^(INFO|WARNING): |Created TensorFlow Lite/.test(String(words[0])) || complain(...words);

// LiteRT ------------------------------------------------------------------------------------------------------------

const SCRIPTS = { threads: "threaded_internal", jspi: "jspi_internal", plain: "internal" };
let loaded: keyof typeof SCRIPTS | "" = "";

async function openLiteRt(delegate: Delegate, model: Uint8Array, runtimes: string): Promise<Session> {
  const folder = `${runtimes}litert/`;
  const litert = await import(/* @vite-ignore */ `${folder}core.js`);
  await loadLiteRt(litert, delegate, folder);
  const compiled = await litert.loadAndCompile(model, { accelerator: delegate });
  return {
    placement: {
      delegate,
      runtime: `LiteRT.js${compiled.isFullyAccelerated ? "" : ", in part on the CPU"}`,
      threads: delegate === "wasm" ? (loaded === "threads" ? compiled.options.cpuOptions.numThreads : 1) : 0,
      ...(delegate === "webgpu" ? describe(litert.getWebGpuDevice()?.adapterInfo) : describe()),
    },
    async run(inputs) {
      const tensors = Object.fromEntries(
        Object.entries(inputs).map(([name, { dims, data }]) => [name, new litert.Tensor(data, dims)]),
      );
      const [output] = Object.values<any>(await compiled.run(tensors));
      try {
        return { type: output.type.dtype, dims: [...output.type.layout.dimensions], data: await output.data() };
      } finally {
        for (const tensor of [...Object.values<any>(tensors), output]) tensor.delete();
      }
    },
    close: () => compiled.delete(),
  };
}

/** Load the build that suits a delegate. Threads and suspension (JSPI), which splitting a model needs, exclude each other. */
async function loadLiteRt(litert: any, delegate: Delegate, folder: string): Promise<void> {
  const wanted = delegate === "wasm" ? "threads" : "jspi";
  const able = (await litert.supportsFeature(wanted)) && (wanted === "jspi" || crossOriginIsolated);
  const build = able ? wanted : "plain";
  if (build === loaded) return;
  if (loaded) litert.unloadLiteRt();
  loaded = "";
  // In a worker its script does not know where it lies, nor what its threads have to load.
  const script = `${folder}wasm/litert_wasm_${SCRIPTS[build]}.js`;
  Object.assign(globalThis, {
    Module: { locateFile: (name: string) => `${folder}wasm/${name}`, mainScriptUrlOrBlob: script },
  });
  await litert.loadLiteRt(`${folder}wasm/`, { [build]: true });
  loaded = build;
}
