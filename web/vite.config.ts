import { defineConfig } from "vite";

const service = "http://127.0.0.1:8000"; // `camreel serve`
const api = ["/runs", "/images", "/datasets", "/architectures", "/optimizers", "/methods", "/targets",
  "/measures", "/colormaps", "/openapi.json", "/healthz", "/docs",
  "/session"];

export default defineConfig({
  base: "/app/",
  build: {
    outDir: "../service/web/page",
    emptyOutDir: true,
    assetsInlineLimit: 0, // the content security policy admits no data: addresses for scripts or styles
    target: "es2022",
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  server: { proxy: Object.fromEntries(api.map((path) => [path, service])) },
});
