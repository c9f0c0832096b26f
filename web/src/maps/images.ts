// Input images as pixels of any size, for painting maps over them, and as parts of pictures.

import { signal } from "@preact/signals";
import { getBlob } from "../api/client";
import { onItsWay } from "../api/waiting";

/** Counts up when an image has come, so that what shows it is drawn again. */
export const arrived = signal(0);

/** An image: a part of a picture that may have several. */
interface Part {
  picture: ImageBitmap;
  url: string; // of the picture, for style sheets
  x: number;
  y: number;
  width: number;
  height: number;
}

type State = Part | "coming" | "missing";

const images = new Map<string, State>();
const scaled = new Map<string, Uint32Array>();
const SCALED_AT_MOST = 400;
const BLACK = 0xff000000;

const keyOf = (dataset: string, reference: string): string => `${dataset} ${reference}`;

function found(dataset: string, reference: string): State {
  const key = keyOf(dataset, reference);
  if (!images.has(key)) void load(key, dataset, reference);
  return images.get(key)!;
}

/** Whether it is on its way: what is painted over it is worth waiting for. */
export const isComing = (dataset: string, reference: string): boolean => found(dataset, reference) === "coming";

/** The image in size x size pixels; black where it has not come, or cannot. */
export function imagePixels(dataset: string, reference: string, size: number): Uint32Array {
  const image = found(dataset, reference);
  const key = `${keyOf(dataset, reference)} ${size} ${typeof image}`;
  const kept = scaled.get(key);
  if (kept) return kept;
  const made = typeof image === "string" ? new Uint32Array(size * size).fill(BLACK) : resized(image, size);
  if (scaled.size >= SCALED_AT_MOST) scaled.clear();
  scaled.set(key, made);
  return made;
}

/** The image as the background of a square of so many CSS pixels; nothing until it has come. */
export function imageBackground(dataset: string, reference: string, side: number): Record<string, string> {
  const image = found(dataset, reference);
  if (typeof image === "string") return {};
  const { picture, url, x, y, width, height } = image;
  const across = side / width;
  const down = side / height;
  return {
    backgroundImage: `url(${url})`,
    backgroundSize: `${picture.width * across}px ${picture.height * down}px`,
    backgroundPosition: `${-x * across}px ${-y * down}px`,
  };
}

const A_ROW = 32; // of the probes' common picture

/** Fetch a run's probes, all at once. */
export async function loadProbes(runId: number, dataset: string, references: string[]): Promise<void> {
  const missing = references.filter((reference) => typeof (images.get(keyOf(dataset, reference)) ?? "") === "string");
  if (!missing.length) return;
  for (const reference of missing) images.set(keyOf(dataset, reference), "coming");
  try {
    const { picture, url } = await onItsWay(getBlob(`/runs/${runId}/probes.png`).then(decoded));
    const width = picture.width / Math.min(A_ROW, references.length);
    const height = picture.height / Math.ceil(references.length / A_ROW);
    references.forEach((reference, i) => images.set(keyOf(dataset, reference), {
      picture, url, width, height, x: (i % A_ROW) * width, y: Math.floor(i / A_ROW) * height,
    }));
  } catch {
    // Each is asked for by itself when it is painted next.
    for (const reference of missing) images.delete(keyOf(dataset, reference));
  }
  arrived.value++;
}

async function load(key: string, dataset: string, reference: string): Promise<void> {
  images.set(key, "coming");
  try {
    const own = await onItsWay(getBlob(`/images/${reference}`, { dataset }).then(decoded));
    images.set(key, { ...own, x: 0, y: 0, width: own.picture.width, height: own.picture.height });
  } catch {
    images.set(key, "missing"); // a dataset that is not on this machine: maps are shown over black
  }
  arrived.value++;
}

async function decoded(blob: Blob): Promise<{ picture: ImageBitmap; url: string }> {
  return { picture: await createImageBitmap(blob, { colorSpaceConversion: "none" }), url: URL.createObjectURL(blob) };
}

function resized({ picture, x, y, width, height }: Part, size: number): Uint32Array {
  const context = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true })!;
  // Pixels stay sharp when they grow, and are averaged when they shrink.
  context.imageSmoothingEnabled = size < width;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x, y, width, height, 0, 0, size, size);
  return new Uint32Array(context.getImageData(0, 0, size, size).data.buffer);
}
