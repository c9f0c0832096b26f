// What the service offers: methods, targets, colormaps, datasets, architectures, optimizers and schedules.

import { getJson } from "./client";
import type { Architecture, Colormap, Dataset, Method, Parametrized, Schema, Target } from "./types";

/** A function that fetches a collection once, since the catalogue is constant while the service runs. */
function fetchOnce<T>(path: string): () => Promise<T[]> {
  let request: Promise<T[]> | null = null;
  return () => {
    request ??= getJson<{ items: T[] }>(path).then((page) => page.items);
    request.catch(() => (request = null)); // the next call tries again
    return request;
  };
}

export const fetchMethods = fetchOnce<Method>("/methods");
export const fetchTargets = fetchOnce<Target>("/targets");
export const fetchColormaps = fetchOnce<Colormap>("/colormaps");
export const fetchArchitectures = fetchOnce<Architecture>("/architectures");
export const fetchOptimizers = fetchOnce<Parametrized>("/optimizers");
export const fetchSchedules = fetchOnce<Parametrized>("/schedules");

/** The datasets: each time anew, since image folders are added while the service runs. */
export const fetchDatasets = async (): Promise<Dataset[]> => (await getJson<{ items: Dataset[] }>("/datasets")).items;

let recorded: readonly string[] = [];

/** Names of the methods whose maps every run records, in the catalogue's order. */
export const recordedMethods = (): readonly string[] => recorded;

/**
 * Loads the names of the recorded methods. The service writes them into the document, so that the first request for
 * maps does not wait for `GET /methods`; the development server's document lacks them.
 */
export async function loadRecordedMethods(): Promise<void> {
  const written = document.querySelector<HTMLMetaElement>('meta[name="camreel-recorded-methods"]');
  recorded = written
    ? written.content.split(" ")
    : (await fetchMethods()).filter((method) => method.recorded).map((method) => method.name);
}

/** The JSON schema of a run's settings, its references to other schemas resolved. */
export async function fetchRunSchema(): Promise<Schema> {
  const api = await getJson<{ components: { schemas: Record<string, Schema> } }>("/openapi.json");
  const { schemas } = api.components;
  const spec = schemas.RunSpec!;
  const resolve = (schema: Schema): Schema =>
    schema.$ref ? { ...schemas[schema.$ref.split("/").at(-1)!]!, ...schema } : schema;
  const properties = Object.entries(spec.properties!).map(([name, schema]) => [name, resolve(schema)]);
  return { ...spec, properties: Object.fromEntries(properties) };
}
