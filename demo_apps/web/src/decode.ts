// From a photo's file to its pixels.

import type { Rgba } from "./pixels";

/** Larger photos are scaled down while they are decoded, so that their pixels fit into a phone's memory. */
const MOST_PIXELS = 24e6;

/** The pixels of a photo: upright by its EXIF orientation, in sRGB, over white where it is transparent. */
export async function decode(photo: Blob): Promise<Rgba> {
  if (!photo.size) throw new Error("the photo is empty (0 bytes)");
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(photo, { imageOrientation: "from-image", colorSpaceConversion: "default" });
  } catch {
    throw new Error("this is not a picture that the browser can read, or it is damaged; JPEG, PNG and WebP work everywhere");
  }
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  return draw(bitmap, Math.floor(bitmap.width * scale), Math.floor(bitmap.height * scale), false);
}

let canvas: OffscreenCanvas | undefined;

/** The pixels of a bitmap at a size, scaled by the browser where it is another; the bitmap is closed. */
export function draw(bitmap: ImageBitmap, width: number, height: number, mirror: boolean): ImageData {
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error(`the browser has no memory for a picture of ${width} x ${height} pixels`);
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
  context.drawImage(bitmap, 0, 0, width, height);
  context.setTransform(1, 0, 0, 1, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
