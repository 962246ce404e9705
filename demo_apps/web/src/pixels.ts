// Pictures as networks take them. The rules and their arithmetic are those of edgestyle/images.py, to the last pixel.

/** (height, width, 3): row by row, RGB interleaved, from 0 to 1. */
export interface Picture {
  height: number;
  width: number;
  data: Float32Array;
}

/** The part of an enlarged picture that holds the real one. */
export interface Window {
  top: number;
  left: number;
  height: number;
  width: number;
}

/** Pixels as a canvas has them: (height, width, 4), RGBA from 0 to 255. */
export type Rgba = Pick<ImageData, "height" | "width" | "data">;

/**
 * Bring pixels to the size of a network's input.
 *
 * "fit-pad-reflect" (`size` is fixed): scale to fit inside, put in the middle, fill the rest by reflection.
 * "pad-reflect" (`size` is "dynamic"): scale so that the long side is `longest`, extend to multiples of `multiple`.
 * Returns the picture, and the window to crop from the network's picture.
 */
export function prepare(
  pixels: Rgba, size: [number, number] | "dynamic", multiple: number, longest: number,
): { picture: Picture; window: Window } {
  const window = place(pixels, size, longest);
  const [height, width] = size === "dynamic"
    ? [window.height, window.width].map((side) => Math.ceil(side / multiple) * multiple)
    : size;
  return { picture: reflect(resize(pixels, window.height, window.width), window, height, width), window };
}

/** Where a photo comes to lie in a network's input, and how large. */
export function place(photo: { height: number; width: number }, size: [number, number] | "dynamic", longest: number): Window {
  if (size === "dynamic") {
    const scale = Math.min(1, longest / Math.max(photo.height, photo.width));
    return { top: 0, left: 0, height: scaled(photo.height, scale), width: scaled(photo.width, scale) };
  }
  const scale = Math.min(size[0] / photo.height, size[1] / photo.width);
  const [height, width] = [scaled(photo.height, scale), scaled(photo.width, scale)];
  return { top: (size[0] - height) >> 1, left: (size[1] - width) >> 1, height, width };
}

const scaled = (side: number, scale: number) => Math.max(1, Math.floor(side * scale + 0.5));

/** Resize with Lanczos's filter of three lobes, antialiased, as Pillow does it in floating point. */
export function resize(pixels: Rgba, height: number, width: number): Picture {
  if (pixels.height === height && pixels.width === width) return fromRgba(pixels);
  const columns = filter(pixels.width, width);
  const rows = filter(pixels.height, height);
  const narrow = new Float32Array(pixels.height * width * 3);
  for (let y = 0, to = 0; y < pixels.height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x];
      let from = (y * pixels.width + first) * 4;
      let red = 0, green = 0, blue = 0;
      for (let i = 0; i < weights.length; i++, from += 4) {
        red += pixels.data[from] * weights[i];
        green += pixels.data[from + 1] * weights[i];
        blue += pixels.data[from + 2] * weights[i];
      }
      narrow[to++] = red / 255;
      narrow[to++] = green / 255;
      narrow[to++] = blue / 255;
    }
  }
  const stride = width * 3;
  const data = new Float32Array(height * stride);
  const sums = new Float64Array(stride);
  for (let y = 0; y < height; y++) {
    const { first, weights } = rows[y];
    sums.fill(0);
    for (let i = 0; i < weights.length; i++) {
      const from = (first + i) * stride;
      for (let x = 0; x < stride; x++) sums[x] += narrow[from + x] * weights[i];
    }
    for (let x = 0; x < stride; x++) data[y * stride + x] = Math.min(1, Math.max(0, sums[x]));
  }
  return { height, width, data };
}

interface Taps {
  first: number;
  weights: Float64Array;
}

/** For each of `to` pixels in a row, which of `from` pixels it is made of. */
function filter(from: number, to: number): Taps[] {
  if (from === to) return Array.from({ length: to }, (_, first) => ({ first, weights: new Float64Array([1]) }));
  const scale = from / to;
  const widening = Math.max(scale, 1);
  return Array.from({ length: to }, (_, x) => {
    const centre = (x + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - 3 * widening + 0.5));
    const end = Math.min(from, Math.trunc(centre + 3 * widening + 0.5));
    const weights = Float64Array.from({ length: end - first }, (_, i) => lanczos((first + i - centre + 0.5) / widening));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function lanczos(x: number): number {
  if (x === 0) return 1;
  if (x < -3 || x >= 3) return 0;
  const angle = x * Math.PI;
  return (Math.sin(angle) / angle) * (Math.sin(angle / 3) / (angle / 3));
}

/** Enlarge a picture by reflection, the edge itself not repeated, so that it lies at `window`. */
function reflect(picture: Picture, window: Window, height: number, width: number): Picture {
  if (picture.height === height && picture.width === width) return picture;
  const rows = mirrored(window.top, window.height, height);
  const columns = mirrored(window.left, window.width, width);
  const data = new Float32Array(height * width * 3);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const from = (row * picture.width + column) * 3;
      data[to++] = picture.data[from];
      data[to++] = picture.data[from + 1];
      data[to++] = picture.data[from + 2];
    }
  }
  return { height, width, data };
}

/** For each of `count` places, which of the `length` pixels from `start` on shows there. */
function mirrored(start: number, length: number, count: number): Int32Array {
  const period = Math.max(1, 2 * (length - 1));
  return Int32Array.from({ length: count }, (_, place) => {
    const at = (((place - start) % period) + period) % period;
    return at < length ? at : period - at;
  });
}

/**
 * A painting as style encoders take it: the squares along its long side, each at the size of the encoder. As many as fit,
 * evenly spread and at most 8; a painting that is nearly square gives one, its middle.
 */
export function squares(painting: Rgba, side: number): Picture[] {
  const { height, width } = painting;
  const [short, long] = [Math.min(height, width), Math.max(height, width)];
  const count = Math.min(Math.max(1, Math.round(long / short)), 8);
  return Array.from({ length: count }, (_, i) => {
    const start = count === 1 ? (long - short) >> 1 : Math.round(((long - short) * i) / (count - 1));
    const [top, left] = width > height ? [0, start] : [start, 0];
    return resize(crop(painting, { top, left, height: short, width: short }), side, side);
  });
}

function crop({ width, data }: Rgba, window: Window): Rgba {
  const part = new Uint8ClampedArray(window.height * window.width * 4);
  for (let y = 0; y < window.height; y++) {
    const from = ((window.top + y) * width + window.left) * 4;
    part.set(data.subarray(from, from + window.width * 4), y * window.width * 4);
  }
  return { height: window.height, width: window.width, data: part };
}

/** Pixels as a picture, at their own size. */
export function fromRgba({ height, width, data }: Rgba): Picture {
  const picture = new Float32Array(height * width * 3);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    for (let channel = 0; channel < 3; channel++) picture[to++] = data[from + channel] / 255;
  }
  return { height, width, data: picture };
}

/** The window of a picture as a canvas takes it: each value is floor(255 value + 0.5). */
export function toRgba(picture: Picture, window: Window): ImageData {
  const image = new ImageData(window.width, window.height);
  for (let y = 0, to = 0; y < window.height; y++) {
    let from = ((window.top + y) * picture.width + window.left) * 3;
    for (let x = 0; x < window.width; x++) {
      image.data[to++] = Math.floor(picture.data[from++] * 255 + 0.5); // the array clamps
      image.data[to++] = Math.floor(picture.data[from++] * 255 + 0.5);
      image.data[to++] = Math.floor(picture.data[from++] * 255 + 0.5);
      image.data[to++] = 255;
    }
  }
  return image;
}
