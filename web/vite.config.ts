import { defineConfig, type Plugin } from "vite";

const SERVICE = "http://127.0.0.1:8000"; // `camreel serve`
const API_PATHS = [
  "/runs",
  "/images",
  "/datasets",
  "/architectures",
  "/optimizers",
  "/schedules",
  "/methods",
  "/targets",
  "/measures",
  "/colormaps",
  "/events",
  "/openapi.json",
  "/healthz",
  "/docs",
  "/session",
];

// uPlot creates a number format and looks up the time zone when it is loaded. The first use of Intl takes a browser
// 20 ms, and the page needs neither: these replacements create them on first use.
const LAZY_INTL: [code: string, replacement: string][] = [
  [
    "const numFormatter = new Intl.NumberFormat(domEnv ? nav.language : 'en-US');",
    "let lazyFormatter; const numFormatter = { format: (value) => " +
      "(lazyFormatter ??= new Intl.NumberFormat(nav.language)).format(value) };",
  ],
  ["const localTz = new Intl.DateTimeFormat().resolvedOptions().timeZone;", ""],
  ["tz == localTz", "tz == new Intl.DateTimeFormat().resolvedOptions().timeZone"],
];

const lazyIntl: Plugin = {
  name: "camreel-uplot-lazy-intl",
  transform(code, id) {
    if (!/\/uplot\/.*\.js$/.test(id)) return null;
    let transformed = code;
    for (const [original, replacement] of LAZY_INTL) {
      if (!transformed.includes(original)) this.error(`uPlot no longer contains: ${original}`);
      transformed = transformed.replace(original, replacement);
    }
    return { code: transformed, map: null };
  },
};

// The document has no content without the script, so that nothing is painted before the script has run.
const blockRendering: Plugin = {
  name: "camreel-block-rendering",
  transformIndexHtml: {
    order: "post",
    handler: (document) => document.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
};

export default defineConfig({
  base: "./", // relative URLs, so that a proxy can serve the page below any path
  plugins: [lazyIntl, blockRendering],
  build: {
    outDir: "../service/web/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content security policy forbids data: URLs for scripts and styles
    target: "es2022",
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: Object.fromEntries(API_PATHS.map((path) => [path, SERVICE])) },
});
