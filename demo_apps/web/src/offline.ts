// The page's side of the service worker.

/** Whether the page can be opened without a network. */
export type Offline = "unsupported" | "keeping" | "ready" | "failed";

export class OfflineCopy {
  private registered = false;

  constructor(private readonly report: (state: Offline, reason: string) => void) {}

  /** Begin to keep the page. Where a host sends no headers for threads, the service worker does from the second load. */
  async start(): Promise<void> {
    if (!("serviceWorker" in navigator)) return this.report("unsupported", "the page was not opened by https");
    try {
      await navigator.serviceWorker.register("service-worker.js");
      this.registered = true;
    } catch (error) {
      return this.report("unsupported", (error as Error).message); // as with a certificate of our own
    }
    if (crossOriginIsolated) return;
    await navigator.serviceWorker.ready;
    if (sessionStorage.getItem("reloaded")) return;
    sessionStorage.setItem("reloaded", "for threads");
    location.reload();
  }

  /** Keep these files too, or all that there are. */
  async keep(urls: string[], all = false): Promise<void> {
    if (!this.registered) return;
    this.report("keeping", "");
    const { active } = await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const answer = new Promise<string>((resolve) => (port1.onmessage = ({ data }) => resolve(data)));
    active!.postMessage({ urls, all }, [port2]);
    const reason = await answer;
    this.report(reason ? "failed" : "ready", reason);
  }
}
