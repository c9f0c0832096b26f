// Input images as pixels of any size, for painting maps over them.

import { signal } from "@preact/signals";
import { address, getBlob } from "../api/client";

/** Counts up when an image has come, so that what shows it is drawn again. */
export const arrived = signal(0);

const bitmaps = new Map<string, ImageBitmap | null>();
const scaled = new Map<string, Uint32Array>();
const SCALED_AT_MOST = 400;

/** The image in size x size pixels; black until it has come. */
export function imagePixels(dataset: string, reference: string, size: number): Uint32Array {
  const key = `${dataset} ${reference}`;
  const bitmap = bitmaps.get(key);
  const place = `${key} ${size} ${bitmap ? 1 : 0}`;
  const kept = scaled.get(place);
  if (kept) return kept;
  if (bitmap === undefined) void load(key, address(`/images/${reference}`, { dataset }));
  const made = bitmap ? resized(bitmap, size) : new Uint32Array(size * size).fill(0xff000000);
  if (scaled.size >= SCALED_AT_MOST) scaled.clear();
  scaled.set(place, made);
  return made;
}

const A_ROW = 32; // of the probes' common picture

/** Fetch a run's probes, all at once. */
export async function loadProbes(runId: number, dataset: string, references: string[]): Promise<void> {
  const key = (reference: string) => `${dataset} ${reference}`;
  if (references.every((reference) => bitmaps.has(key(reference)))) return;
  for (const reference of references) bitmaps.set(key(reference), bitmaps.get(key(reference)) ?? null);
  try {
    const grid = await createImageBitmap(await getBlob(`/runs/${runId}/probes.png`, "image/png"), { colorSpaceConversion: "none" });
    const width = grid.width / Math.min(A_ROW, references.length);
    const height = grid.height / Math.ceil(references.length / A_ROW);
    const parts = await Promise.all(references.map((_, i) =>
      createImageBitmap(grid, (i % A_ROW) * width, Math.floor(i / A_ROW) * height, width, height)));
    references.forEach((reference, i) => bitmaps.set(key(reference), parts[i]!));
    grid.close();
  } catch {
    // Maps are shown over black; each image is asked for by itself when it is painted next.
    for (const reference of references) if (!bitmaps.get(key(reference))) bitmaps.delete(key(reference));
  }
  arrived.value++;
}

async function load(key: string, url: string): Promise<void> {
  bitmaps.set(key, null);
  const response = await fetch(url);
  if (!response.ok) return; // a dataset that is not on this machine: maps are shown over black
  bitmaps.set(key, await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" }));
  arrived.value++;
}

function resized(bitmap: ImageBitmap, size: number): Uint32Array {
  const context = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true })!;
  // Pixels stay sharp when they grow, and are averaged when they shrink.
  context.imageSmoothingEnabled = size < bitmap.width;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, size, size);
  return new Uint32Array(context.getImageData(0, 0, size, size).data.buffer);
}
