// What this device says of itself.

import { describeAdapter } from "./engines.js";

export async function describeDevice() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return {
    name: await nameDevice(),
    user_agent: navigator.userAgent,
    cores: navigator.hardwareConcurrency ?? null,
    memory_gb: navigator.deviceMemory ?? null,
    secure: isSecureContext,
    isolated: crossOriginIsolated,
    adapter: describeAdapter(adapter?.info),
    webnn: Boolean(navigator.ml),
  };
}

/** For people: "Pixel 8, Chrome 142". */
async function nameDevice() {
  const hints = await navigator.userAgentData?.getHighEntropyValues(["model"]).catch(() => null);
  if (hints) {
    const brands = hints.brands.filter(({ brand }) => !/not.*brand/i.test(brand)); // one is made up, for sport
    const { brand, version } = brands.find(({ brand }) => brand !== "Chromium") ?? brands[0];
    return `${hints.model || hints.platform || "unknown device"}, ${brand} ${version}`;
  }
  const agent = navigator.userAgent;
  const device = agent.match(/iPhone|iPad|Android|Macintosh|Windows|Linux/)?.[0] ?? "unknown device";
  const [, browser, version] = agent.match(/(Firefox|FxiOS|CriOS|Chrome|Version)\/(\d+)/) ?? [null, "unknown browser", ""];
  return `${device}, ${{ Version: "Safari", CriOS: "Chrome", FxiOS: "Firefox" }[browser] ?? browser} ${version}`.trim();
}
