// The camera, and what to say where there is none.

export class Camera {
  private readonly video = document.createElement("video");
  private stream: MediaStream | undefined;
  private facing: "user" | "environment" = "user";

  /** Called when the camera goes away by itself. */
  onLost = () => {};

  constructor() {
    Object.assign(this.video, { muted: true, playsInline: true });
  }

  get on(): boolean {
    return this.stream !== undefined;
  }

  /** People expect a mirror when they look at themselves. */
  get mirror(): boolean {
    return this.facing === "user";
  }

  async start(): Promise<void> {
    if (!navigator.mediaDevices) throw new Error("Browsers give cameras only to pages opened by https or on localhost.");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { facingMode: this.facing, width: { ideal: 1280 }, height: { ideal: 720 } },
      });
    } catch (error) {
      throw new Error(REASONS[(error as Error).name] ?? `The camera does not start: ${(error as Error).message}`);
    }
    this.stream.getVideoTracks()[0].addEventListener("ended", () => {
      this.stop();
      this.onLost();
    });
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop(): void {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = undefined;
    this.video.srcObject = null;
  }

  /** The camera on the other side of the phone. */
  async flip(): Promise<void> {
    this.facing = this.mirror ? "environment" : "user";
    this.stop();
    await this.start();
  }

  /** Whether there is another side. */
  async canFlip(): Promise<boolean> {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").length > 1;
  }

  /** The next picture, once there is a new one; undefined if the camera has been stopped. */
  async next(): Promise<ImageBitmap | undefined> {
    await new Promise<unknown>((resolve) => {
      if ("requestVideoFrameCallback" in this.video) this.video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
      this.video.addEventListener("emptied", resolve, { once: true });
    });
    return this.on && this.video.videoWidth ? createImageBitmap(this.video) : undefined;
  }
}

const REASONS: Record<string, string> = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's settings; photos work without it.",
  NotFoundError: "No camera was found here. Photos work without one.",
  OverconstrainedError: "No camera was found here that fits. Photos work without one.",
  NotReadableError: "The camera is in use by another app, or switched off. Close the other app and try again.",
};
