import { defineConfig } from "vite";

// The built site is committed and ships in the Python package: names without hashes keep its history readable. The
// service worker knows each file by its content instead (src/service-worker.ts).
export default defineConfig({
  base: "./",
  build: {
    outDir: "site",
    target: "es2022",
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: "index.html", "service-worker": "src/service-worker.ts" },
      output: {
        entryFileNames: ({ name }) => (name === "service-worker" ? "service-worker.js" : "assets/[name].js"),
        chunkFileNames: "assets/[name].js",
        assetFileNames: "assets/[name][extname]",
      },
    },
  },
  // A classic worker, because LiteRT.js loads its runtime with importScripts.
  worker: { format: "iife", rolldownOptions: { output: { entryFileNames: "assets/[name].js" } } },
});
