// What the page's texts and theme need of a browser: tests run without one.
// Defined rather than assigned, because newer versions of Node have a `navigator` of their own.
for (const [name, value] of Object.entries({
  localStorage: { getItem: () => null, setItem: () => {} },
  navigator: { languages: ["en"] },
  document: { documentElement: { dataset: {} } },
  matchMedia: () => ({ matches: false, addEventListener: () => {} }),
})) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
