// Doing one job: see Job and Result in edgestyle/browser/protocol.py.

import { open } from "./engines.js";

const ARRAYS = { float32: Float32Array, uint8: Uint8Array, float16: globalThis.Float16Array ?? Uint16Array };

let kept = null; // the network of the last "run", for the next

/**
 * Do a job. `result` is filled as it goes, so that what is measured is there even if the page is left in the middle.
 * Returns the output tensor where the job wants it.
 */
export async function perform(job, result, progress) {
  if (job.task === "run") return runOnce(job, result);
  kept = release(kept);
  const session = await openModel(job, result, job.task === "place");
  try {
    if (job.task === "time") await timeRuns(job, session, result, progress);
  } finally {
    release(session);
  }
  return null;
}

async function runOnce(job, result) {
  const key = [job.name, job.engine, job.delegate].join();
  if (kept?.key !== key) {
    kept = release(kept);
    kept = { key, ...(await openModel(job, result, false)) };
  }
  const inputs = await fetchInputs(job);
  result.actual = kept.actual;
  const began = performance.now();
  const output = await kept.run(inputs);
  result.samples_ms.push(since(began));
  if (!job.output) return null;
  result.output_type = output.type;
  result.output_dims = output.dims;
  return output;
}

async function timeRuns(job, session, result, progress) {
  const inputs = await fetchInputs(job);
  const end = performance.now() + job.limit_ms;
  const timed = async () => {
    await new Promise((resolve) => setTimeout(resolve)); // let the page draw: outside of what is timed
    const began = performance.now();
    await session.run(inputs); // the output is in memory when it resolves
    return since(began);
  };
  progress("first run");
  result.first_ms = await timed();
  while (result.warmup_ms.length < job.warmup && performance.now() < end) {
    progress("warming up");
    result.warmup_ms.push(await timed());
  }
  while (result.samples_ms.length < job.samples && (performance.now() < end || !result.samples_ms.length)) {
    progress(`${result.samples_ms.length + 1} of ${job.samples}`);
    result.samples_ms.push(await timed());
  }
}

/** Milliseconds, no finer than any browser's clock: what a page posts as it is left has to be short. */
const since = (began) => Math.round((performance.now() - began) * 1000) / 1000;

async function openModel(job, result, verbose) {
  const model = new Uint8Array(await fetchBytes(job.model));
  const session = await open(job.engine, job.delegate, model, verbose);
  result.init_ms = session.init_ms;
  result.actual = session.actual;
  return session;
}

function release(session) {
  session?.close();
  return null;
}

/** What the file takes: its picture, and the code that a transformer paints by, or null. */
async function fetchInputs({ input, code }) {
  return {
    picture: { type: input.type, dims: input.dims, data: new ARRAYS[input.type](await fetchBytes(input.url)) },
    code: code && { type: "float32", dims: [1, code.length], data: Float32Array.from(code) },
  };
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.arrayBuffer();
}
