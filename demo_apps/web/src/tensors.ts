// Between pictures and what files take and give.

import type { TensorSpec } from "./manifest";
import type { Picture } from "./pixels";

export type TensorData = Float32Array | Uint8Array | Uint16Array;

export interface Tensor {
  type: TensorSpec["dtype"];
  dims: number[];
  data: TensorData;
}

declare const Float16Array: undefined | (new (length: number) => Uint16Array);

/** The tensor of a picture, in the layout, range and number format that a file takes. */
export function toTensor({ height, width, data }: Picture, spec: TensorSpec): Tensor {
  const [low, high] = spec.range;
  const values = allocate(spec, data.length);
  const round = spec.dtype === "uint8" ? 0.5 : 0; // a typed array of integers cuts off
  const step = spec.layout === "NHWC" ? 1 : height * width;
  for (let pixel = 0, from = 0; pixel < height * width; pixel++) {
    let to = step === 1 ? from : pixel;
    for (let channel = 0; channel < 3; channel++, to += step) values[to] = low + data[from++] * (high - low) + round;
  }
  return { type: spec.dtype, dims: step === 1 ? [1, height, width, 3] : [1, 3, height, width], data: values };
}

/** The picture in a tensor that a file gave. Throws where it holds something that is no number. */
export function toPicture({ dims, data }: Tensor, spec: TensorSpec): Picture {
  const [low, high] = spec.range;
  const [height, width] = spec.layout === "NHWC" ? dims.slice(1, 3) : dims.slice(2, 4);
  const picture = { height, width, data: new Float32Array(data.length) };
  const step = spec.layout === "NHWC" ? 1 : height * width;
  let sum = 0;
  for (let pixel = 0, to = 0; pixel < height * width; pixel++) {
    let from = step === 1 ? to : pixel;
    for (let channel = 0; channel < 3; channel++, from += step) {
      sum += picture.data[to++] = (data[from] - low) / (high - low);
    }
  }
  if (!Number.isFinite(sum)) throw new Error("the network's picture holds NaN or infinity; choose another delegate");
  return picture;
}

function allocate({ dtype, name }: TensorSpec, length: number): TensorData {
  if (dtype === "float32") return new Float32Array(length);
  if (dtype === "uint8") return new Uint8Array(length);
  if (typeof Float16Array === "undefined") throw new Error(`${name} takes float16, which this browser does not have`);
  return new Float16Array(length);
}
