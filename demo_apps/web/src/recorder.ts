// Recording of what is on the canvas.

const TYPES = ["video/mp4;codecs=avc1.42E01F", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];

export class Recorder {
  private recorder: MediaRecorder | undefined;
  private chunks: Blob[] = [];

  constructor(private readonly canvas: HTMLCanvasElement) {}

  /** The kind of video that this browser writes, or undefined if it writes none. */
  static get type(): string | undefined {
    if (!("MediaRecorder" in globalThis) || !("captureStream" in HTMLCanvasElement.prototype)) return undefined;
    return TYPES.find((type) => MediaRecorder.isTypeSupported(type));
  }

  get on(): boolean {
    return this.recorder !== undefined;
  }

  get paused(): boolean {
    return this.recorder?.state === "paused";
  }

  start(): void {
    this.chunks = [];
    const options = { mimeType: Recorder.type, videoBitsPerSecond: 8e6 }; // paintings are full of edges
    this.recorder = new MediaRecorder(this.canvas.captureStream(30), options);
    this.recorder.addEventListener("dataavailable", ({ data }) => data.size && this.chunks.push(data));
    this.recorder.start(1000); // a piece each second: what was recorded is there even if the page dies
  }

  /** A page in the background gets no pictures: leave that time out. */
  pause(): void {
    if (this.recorder?.state === "recording") this.recorder.pause();
  }

  resume(): void {
    if (this.recorder?.state === "paused") this.recorder.resume();
  }

  /** End, and give the video. */
  async stop(): Promise<Blob> {
    const recorder = this.recorder;
    if (!recorder) throw new Error("nothing is being recorded");
    this.recorder = undefined;
    if (recorder.state !== "inactive") {
      const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
      recorder.stop();
      await ended;
    }
    for (const track of recorder.stream.getTracks()) track.stop();
    if (!this.chunks.length) throw new Error("the recording is empty: no picture came while it ran");
    return new Blob(this.chunks, { type: recorder.mimeType });
  }
}
