import { defineConfig, type Plugin } from "vite";

const service = "http://127.0.0.1:8000"; // `camreel serve`
const api = ["/runs", "/images", "/datasets", "/architectures", "/optimizers", "/methods", "/targets",
  "/measures", "/colormaps", "/events", "/openapi.json", "/healthz", "/docs",
  "/session"];

// uPlot makes a number format and looks up the time zone as it is loaded. The first use of Intl takes
// a browser some 20 ms, and the page uses neither: they are made when something asks for them.
const MADE_AT_ONCE: [string, string][] = [
  [
    "const numFormatter = new Intl.NumberFormat(domEnv ? nav.language : 'en-US');",
    "let madeFormatter; const numFormatter = { format: (value) => (madeFormatter ??= new Intl.NumberFormat(nav.language)).format(value) };",
  ],
  ["const localTz = new Intl.DateTimeFormat().resolvedOptions().timeZone;", ""],
  ["tz == localTz", "tz == new Intl.DateTimeFormat().resolvedOptions().timeZone"],
];

const withoutIntl: Plugin = {
  name: "camreel-uplot-without-intl",
  transform(code, id) {
    if (!/\/uplot\/.*\.js$/.test(id)) return null;
    for (const [made, later] of MADE_AT_ONCE) {
      if (!code.includes(made)) this.error(`uPlot has no longer: ${made}`);
      code = code.replace(made, later);
    }
    return { code, map: null };
  },
};

// Nothing is drawn before the script has been read: there is nothing to be seen.
const drawnByScript: Plugin = {
  name: "camreel-drawn-by-script",
  transformIndexHtml: {
    order: "post",
    handler: (document) => document.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
};

export default defineConfig({
  base: "./", // no address of its own: the service may lie anywhere below a proxy
  plugins: [withoutIntl, drawnByScript],
  build: {
    outDir: "../service/web/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content security policy admits no data: addresses for scripts or styles
    target: "es2022",
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: Object.fromEntries(api.map((path) => [path, service])) },
});
