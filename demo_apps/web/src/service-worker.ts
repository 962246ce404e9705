// Keeps the page's files on the device, each under the hash of its content, so that the page works without a network
// and only what has changed is ever fetched again. It also adds the headers that threads need, for hosts that cannot.
//
// `edgestyle demo web` puts a line before this script: self.FILES = {"index.html": "sha256 in hex", ...}. A change of
// any file is a change of this script, which is how the browser learns of it.

export type {};

declare const self: ServiceWorkerGlobalScope & { FILES?: Record<string, string> };

const FILES = self.FILES ?? {};
const SCOPE = self.registration.scope;
const CACHE = `edgestyle ${SCOPE}`;
/** Runtimes are large, and each visitor uses one or two of them: they are kept when they have been used. */
const LATER = "runtimes/";

self.addEventListener("install", (event) => {
  const paths = Object.keys(FILES).filter((path) => !path.startsWith(LATER));
  event.waitUntil(keep(paths).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(Promise.all([forgetOld(), self.clients.claim()]));
});

self.addEventListener("message", (event) => {
  const { urls, all } = event.data as { urls: string[]; all?: boolean };
  const paths = all ? Object.keys(FILES) : urls.map(pathOf).filter((path) => path in FILES);
  const port = event.ports[0];
  event.waitUntil(keep(paths).then(() => port?.postMessage(""), (error: Error) => port?.postMessage(error.message)));
});

self.addEventListener("fetch", (event) => {
  const path = pathOf(event.request.url);
  if (event.request.method === "GET" && path in FILES) event.respondWith(answer(path, event.request));
});

async function answer(path: string, request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const response = (await cache.match(key(path))) ?? (await fetch(request));
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  headers.set("Cross-Origin-Resource-Policy", "same-origin");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** Fetch files that are not kept yet, and keep those whose content is what it should be. */
async function keep(paths: string[]): Promise<void> {
  const cache = await caches.open(CACHE);
  for (const path of new Set(paths)) {
    if (await cache.match(key(path))) continue;
    const response = await fetch(new URL(path, SCOPE), { cache: "no-cache" });
    if (!response.ok) throw new Error(`${path}: the server says ${response.status}`);
    if ((await sha256(await response.clone().arrayBuffer())) !== FILES[path]) throw new Error(`${path} has been changed`);
    await cache.put(key(path), response);
  }
}

async function forgetOld(): Promise<void> {
  const cache = await caches.open(CACHE);
  const wanted = new Set(Object.keys(FILES).map((path) => key(path)));
  for (const { url } of await cache.keys()) if (!wanted.has(url)) await cache.delete(url);
}

const key = (path: string) => new URL(`kept/${FILES[path]}`, SCOPE).href;

function pathOf(url: string): string {
  const { origin, pathname } = new URL(url);
  const scope = new URL(SCOPE);
  if (origin !== scope.origin || !pathname.startsWith(scope.pathname)) return "";
  return decodeURIComponent(pathname.slice(scope.pathname.length)) || "index.html";
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
