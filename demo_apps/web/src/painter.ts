// The worker, as the page calls it.

import type { Kind, Reply, Request, Requests } from "./protocol";

export class Painter {
  private readonly worker = new Worker(new URL("./worker.ts", import.meta.url));
  private readonly waiting = new Map<number, { resolve: (value: any) => void; reject: (error: Error) => void }>();
  private count = 0;
  /** Why nothing can be asked any more. */
  private failure: Error | undefined;

  constructor() {
    this.worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error === undefined) waiting?.resolve(data.value);
      else waiting?.reject(new Error(data.error));
    });
    this.worker.addEventListener("error", (event) => {
      this.failure = new Error(`the page's worker does not run: ${event.message ?? "it cannot be loaded"}; load the page again`);
      for (const { reject } of this.waiting.values()) reject(this.failure);
      this.waiting.clear();
    });
  }

  /** Ask for something; rejects with an error whose message is fit to be shown. */
  ask<K extends Kind>(kind: K, what: Requests[K]["ask"], transfer: Transferable[] = []): Promise<Requests[K]["reply"]> {
    if (this.failure) return Promise.reject(this.failure);
    const id = this.count++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, kind, ...what } as Request, { transfer });
    });
  }
}
