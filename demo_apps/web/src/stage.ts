// The picture on the page: the photo to the left of the divider, the painting to its right.

import type { Painted } from "./protocol";

export class Stage {
  /** How much of the painting shows through, from 0 to 1. */
  strength = 1;
  /** Where the divider is, as a part of the width from 0 to 1. */
  divider = 0.5;

  private shown: Painted | undefined;
  private readonly context: CanvasRenderingContext2D;

  constructor(readonly canvas: HTMLCanvasElement) {
    const context = canvas.getContext("2d");
    if (!context) throw new Error("this browser cannot draw on a canvas");
    this.context = context;
  }

  /** Show a new painting; the one before is let go. */
  show(painted: Painted): void {
    this.shown?.photo.close();
    this.shown?.painting.close();
    this.shown = painted;
    const { width, height } = painted.painting;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.draw();
  }

  draw(): void {
    if (this.shown) compose(this.context, this.shown, this.strength, Math.round(this.divider * this.canvas.width));
  }

  /** The painting without the divider, as a PNG file. */
  async toPng(): Promise<Blob> {
    if (!this.shown) throw new Error("there is nothing to save yet");
    const { width, height } = this.canvas;
    const canvas = new OffscreenCanvas(width, height);
    compose(canvas.getContext("2d")!, this.shown, this.strength, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }
}

function compose(
  context: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  { photo, painting }: Painted, strength: number, divider: number,
): void {
  const { width, height } = painting;
  context.globalAlpha = 1;
  context.drawImage(photo, 0, 0);
  if (divider >= width) return;
  context.globalAlpha = strength;
  context.drawImage(painting, divider, 0, width - divider, height, divider, 0, width - divider, height);
}
