// What the page's texts need of a browser: tests run without one.

Object.assign(globalThis, {
  localStorage: { getItem: () => null, setItem: () => {} },
  navigator: { languages: ["en"] },
  document: { documentElement: {} },
});
