import { getJson } from "./client";
import type { Architecture, Colormap, Dataset, Method, Parametrized, Schema, Target } from "./types";

interface Items<T> {
  items: T[];
}

/** Fetched once: the catalogue is the same as long as the service runs. */
function once<T>(path: string): () => Promise<T[]> {
  let asked: Promise<T[]> | null = null;
  return () => {
    asked ??= getJson<Items<T>>(path).then((page) => page.items);
    asked.catch(() => (asked = null)); // asked again after a failure
    return asked;
  };
}

export const methods = once<Method>("/methods");
export const targets = once<Target>("/targets");
export const colormaps = once<Colormap>("/colormaps");
export const datasets = once<Dataset>("/datasets");
export const architectures = once<Architecture>("/architectures");
export const optimizers = once<Parametrized>("/optimizers");

/** The schema of a run's spec: what the catalogue has no line for, epochs and the like. */
export async function specSchema(): Promise<Schema> {
  const api = await getJson<{ components: { schemas: Record<string, Schema> } }>("/openapi.json");
  const spec = api.components.schemas["RunSpec"]!;
  const named = (schema: Schema): Schema =>
    schema.$ref ? { ...api.components.schemas[schema.$ref.split("/").at(-1)!]!, ...schema } : schema;
  return { ...spec, properties: Object.fromEntries(Object.entries(spec.properties!).map(([k, v]) => [k, named(v)])) };
}
