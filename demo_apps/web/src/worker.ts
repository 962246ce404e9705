// Everything but the drawing: decoding, resizing, the networks. The page stays smooth whatever happens here.

import { decode, draw } from "./decode";
import { message, Network } from "./network";
import type { Rgba } from "./pixels";
import type { Painted, Reply, Request } from "./protocol";

let network: Network | undefined;
let photo: Rgba | undefined;

async function answer(request: Request): Promise<[unknown, Transferable[]]> {
  switch (request.kind) {
    case "open": {
      network?.close();
      network = undefined;
      const [opened, about] = await Network.open(request.manifest, request.runtimes, request.delegate, request.longest);
      network = opened;
      const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
      return [{ ...about, fetched }, []];
    }
    case "photo":
      photo = await decode(request.file);
      return [{ height: photo.height, width: photo.width }, []];
    case "paint":
      if (!photo) throw new Error("there is no photo yet");
      return paint(photo, performance.now());
    case "frame": {
      const began = performance.now();
      const { bitmap, mirror } = request;
      if (!network) throw new Error("no network is open");
      const { height, width } = network.place(bitmap);
      return paint(draw(bitmap, width, height, mirror), began);
    }
    case "encode": {
      const painting = await decode(request.file);
      const [encoder] = await Network.open(request.manifest, request.runtimes, "wasm");
      try {
        return [await encoder.encode(painting), []];
      } finally {
        encoder.close();
      }
    }
    case "style":
      if (network) network.code = Float32Array.from(request.code);
      return [null, []];
    case "check":
      if (!network) throw new Error("no network is open");
      return [await network.check(), []];
  }
}

async function paint(pixels: Rgba, began: number): Promise<[Painted, Transferable[]]> {
  if (!network) throw new Error("no network is open");
  const result = await network.paint(pixels);
  const [before, painting] = await Promise.all([createImageBitmap(result.photo), createImageBitmap(result.painting)]);
  const total = performance.now() - began;
  return [{ photo: before, painting, network: result.network, total }, [before, painting]];
}

let last: Promise<void> = Promise.resolve();

self.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  last = last.then(async () => {
    try {
      const [value, transfer] = await answer(data);
      self.postMessage({ id: data.id, value } satisfies Reply, { transfer });
    } catch (error) {
      self.postMessage({ id: data.id, error: message(error) } satisfies Reply);
    }
  });
});
