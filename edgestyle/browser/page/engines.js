// The two runtimes behind one face: open(engine, delegate, model) -> {run, close, actual, init_ms}.
//
// A tensor is {type, dims, data}: a name such as "float32", its sizes, and a typed array. What runs is given {picture, code}:
// a tensor, and another where the file has an input of that name, else null.

const NPM = new URL("npm/", document.baseURI);
const threads = crossOriginIsolated ? Math.min(navigator.hardwareConcurrency ?? 1, 4) : 1;

/** Why a delegate cannot work here, or "". */
export async function obstacle(delegate) {
  const insecure = isSecureContext ? "" : "; browsers offer it to secure pages only: open this one by https or on localhost";
  if (delegate === "webgpu" && !navigator.gpu) return `this browser offers no WebGPU${insecure}`;
  if (delegate === "webgpu" && !(await navigator.gpu.requestAdapter())) return "WebGPU finds no adapter on this device";
  if (delegate === "webnn" && !navigator.ml) return `this browser offers no WebNN${insecure}`;
  return "";
}

/** What a graphics adapter says of itself, or null. */
export function describeAdapter(info) {
  if (!info) return null;
  const name = [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
  return { name, software: Boolean(info.isFallbackAdapter) || info.architecture === "swiftshader" };
}

/**
 * Open a model (Uint8Array). `actual` says what it really runs on, with the runtime's own log if `verbose`; `init_ms`
 * is the time from the bytes to a network that is ready to run, the runtime itself being loaded.
 */
export function open(engine, delegate, model, verbose = false) {
  return { "onnxruntime-web": openOnnx, litert: openLiteRt }[engine](delegate, model, verbose);
}

// ONNX Runtime ------------------------------------------------------------------------------------------------------

const started = new Set(); // builds of the runtime

async function openOnnx(delegate, model, verbose) {
  // Builds apart: the one with WebGPU and WebNN can suspend itself, which makes its CPU kernels slower.
  const build = delegate === "wasm" ? "ort.wasm.min.mjs" : "ort.webgpu.min.mjs";
  const ort = await import(new URL(`onnxruntime-web/dist/${build}`, NPM));
  ort.env.wasm.wasmPaths = new URL("onnxruntime-web/dist/", NPM).href;
  ort.env.wasm.numThreads = threads;
  const create = () =>
    ort.InferenceSession.create(model, { executionProviders: [delegate], logSeverityLevel: verbose ? 0 : 3 });
  if (!started.has(build)) await (await create()).release(); // the first session loads the runtime: not to be timed
  started.add(build);
  const { value: session, lines, ms } = await listening(create);
  const telling = lines.filter((line) => !/\[[VI]:onnxruntime/.test(line) || line.includes("VerifyEachNodeIsAssignedToAnEp"));
  const device = delegate === "webgpu" ? await ort.env.webgpu.device : null;
  return {
    init_ms: ms,
    actual: {
      runtime: `onnxruntime-web ${ort.env.versions.web}`,
      threads: delegate === "wasm" ? ort.env.wasm.numThreads : null,
      adapter: describeAdapter(device?.adapterInfo),
      log: telling,
    },
    async run({ picture, code }) {
      const tensor = ({ type, dims, data }) => new ort.Tensor(type, data, dims);
      const outputs = await session.run({ [session.inputNames[0]]: tensor(picture), ...(code && { code: tensor(code) }) });
      const output = outputs[session.outputNames[0]];
      return { type: output.type, dims: [...output.dims], data: await output.getData(true) };
    },
    close: () => session.release(),
  };
}

// LiteRT ------------------------------------------------------------------------------------------------------------

let loaded = "";

async function openLiteRt(delegate, model) {
  const litert = await import("@litertjs/core");
  await loadLiteRt(litert, delegate);
  const { version } = await (await fetch(new URL("@litertjs/core/package.json", NPM))).json();
  const { value: compiled, lines, ms } = await listening(() => litert.loadAndCompile(model, { accelerator: delegate }));
  return {
    init_ms: ms,
    actual: {
      runtime: `LiteRT.js ${version} (${loaded})`,
      threads: delegate === "wasm" ? (loaded === "threads" ? compiled.options.cpuOptions.numThreads : 1) : null,
      adapter: delegate === "webgpu" ? describeAdapter(litert.getWebGpuDevice()?.adapterInfo) : null,
      log: [...lines, `fully accelerated: ${compiled.isFullyAccelerated}`],
    },
    async run({ picture, code }) {
      const wanted = compiled.getInputDetails().map(({ name }) => (code && name === "code" ? code : picture));
      const inputs = wanted.map(({ dims, data }) => new litert.Tensor(data, dims));
      const [output] = await compiled.run(inputs);
      try {
        const { dtype, layout } = output.type;
        return { type: dtype, dims: [...layout.dimensions], data: await output.data() };
      } finally {
        for (const tensor of [...inputs, output]) tensor.delete();
      }
    },
    close: () => compiled.delete(),
  };
}

/** Load the build that suits a delegate. Threads and suspension (JSPI), which splitting a model needs, exclude each other. */
async function loadLiteRt(litert, delegate) {
  const wanted = delegate === "wasm" ? "threads" : "jspi";
  const able = (await litert.supportsFeature(wanted)) && (wanted === "jspi" || crossOriginIsolated);
  const build = able ? wanted : "plain";
  if (build === loaded) return;
  if (loaded) litert.unloadLiteRt();
  loaded = "";
  await litert.loadLiteRt(new URL("@litertjs/core/wasm/", NPM).href, { [build]: true });
  loaded = build;
}

// What the runtimes say only in their logs ----------------------------------------------------------------------------

let heard = null;

for (const level of ["debug", "info", "log", "warn", "error"]) {
  const say = console[level].bind(console);
  console[level] = (...words) => (heard ? heard.push(words.join(" ")) : say(...words));
}

/** Do something; what came of it, what was said meanwhile, and how long it took. */
async function listening(action) {
  heard = [];
  try {
    const began = performance.now();
    const value = await action();
    return { value, lines: heard, ms: performance.now() - began };
  } finally {
    heard = null;
  }
}
