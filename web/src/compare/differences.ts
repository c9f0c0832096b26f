import type { Json } from "../api/types";

export interface Difference {
  name: string; // dotted
  values: string[]; // by run
}

const IGNORED = ["name", "tags"];

/** The settings that differ between runs. */
export function differences(specs: Record<string, Json>[]): Difference[] {
  const flat = specs.map((spec) => flatten(spec));
  const names = [...new Set(flat.flatMap(Object.keys))].filter((name) => !IGNORED.includes(name));
  return names
    .map((name) => ({ name, values: flat.map((settings) => settings[name] ?? "–") }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** All settings by dotted name. */
function flatten(value: Json, name = ""): Record<string, string> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return { [name]: JSON.stringify(value).replaceAll('"', "") };
  }
  const parts = Object.entries(value).map(([key, nested]) => flatten(nested, name ? `${name}.${key}` : key));
  return Object.assign({}, ...parts);
}
