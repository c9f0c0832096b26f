// Input images as pixels of any size, for painting maps over them, and as CSS backgrounds.

import { signal } from "@preact/signals";
import { getBlob } from "../api/client";
import { trackRequest } from "../api/pending";
import { BLACK } from "./pixels";

/** Counts loaded images, so that what shows them is drawn again. */
export const loadedImages = signal(0);

/** An image: a region of a bitmap that may hold several. */
interface ImageRegion {
  bitmap: ImageBitmap;
  url: string; // of the bitmap, for style sheets
  x: number;
  y: number;
  width: number;
  height: number;
}

type ImageState = ImageRegion | "loading" | "missing";

const images = new Map<string, ImageState>();
const resized = new Map<string, Uint32Array>();
const MAX_RESIZED = 400;

const keyOf = (dataset: string, reference: string): string => `${dataset} ${reference}`;

function getImage(dataset: string, reference: string): ImageState {
  const key = keyOf(dataset, reference);
  if (!images.has(key)) void loadImage(key, dataset, reference);
  return images.get(key)!;
}

/** Whether the image is still loading, so that painting a map over it should wait. */
export const isLoading = (dataset: string, reference: string): boolean => getImage(dataset, reference) === "loading";

/** The image in size x size pixels; black while it is loading or if it is missing. */
export function imagePixels(dataset: string, reference: string, size: number): Uint32Array {
  const image = getImage(dataset, reference);
  const key = `${keyOf(dataset, reference)} ${size} ${typeof image}`;
  const cached = resized.get(key);
  if (cached) return cached;
  const pixels = typeof image === "string" ? new Uint32Array(size * size).fill(BLACK) : resize(image, size);
  if (resized.size >= MAX_RESIZED) resized.clear();
  resized.set(key, pixels);
  return pixels;
}

/** CSS properties that show the image as background of a square of `side` CSS pixels; none until it is loaded. */
export function imageBackground(dataset: string, reference: string, side: number): Record<string, string> {
  const image = getImage(dataset, reference);
  if (typeof image === "string") return {};
  const { bitmap, url, x, y, width, height } = image;
  const scaleX = side / width;
  const scaleY = side / height;
  return {
    backgroundImage: `url(${url})`,
    backgroundSize: `${bitmap.width * scaleX}px ${bitmap.height * scaleY}px`,
    backgroundPosition: `${-x * scaleX}px ${-y * scaleY}px`,
  };
}

const PROBES_PER_ROW = 32; // of `probes.png`

/** Loads a run's probes, all in one picture. */
export async function loadProbes(runId: number, dataset: string, references: string[]): Promise<void> {
  const missing = references.filter((reference) => typeof (images.get(keyOf(dataset, reference)) ?? "") === "string");
  if (!missing.length) return;
  for (const reference of missing) images.set(keyOf(dataset, reference), "loading");
  try {
    const { bitmap, url } = await trackRequest(getBlob(`/runs/${runId}/probes.png`).then(decode));
    const width = bitmap.width / Math.min(PROBES_PER_ROW, references.length);
    const height = bitmap.height / Math.ceil(references.length / PROBES_PER_ROW);
    references.forEach((reference, i) => {
      const x = (i % PROBES_PER_ROW) * width;
      const y = Math.floor(i / PROBES_PER_ROW) * height;
      images.set(keyOf(dataset, reference), { bitmap, url, x, y, width, height });
    });
  } catch {
    // Each is loaded separately when it is painted next.
    for (const reference of missing) images.delete(keyOf(dataset, reference));
  }
  loadedImages.value++;
}

async function loadImage(key: string, dataset: string, reference: string): Promise<void> {
  images.set(key, "loading");
  try {
    const { bitmap, url } = await trackRequest(getBlob(`/images/${reference}`, { dataset }).then(decode));
    images.set(key, { bitmap, url, x: 0, y: 0, width: bitmap.width, height: bitmap.height });
  } catch {
    images.set(key, "missing"); // the dataset is not on this machine: maps are shown over black
  }
  loadedImages.value++;
}

async function decode(blob: Blob): Promise<{ bitmap: ImageBitmap; url: string }> {
  return { bitmap: await createImageBitmap(blob, { colorSpaceConversion: "none" }), url: URL.createObjectURL(blob) };
}

function resize({ bitmap, x, y, width, height }: ImageRegion, size: number): Uint32Array {
  const context = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true })!;
  // Pixels stay sharp when enlarged, and are averaged when reduced.
  context.imageSmoothingEnabled = size < width;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x, y, width, height, 0, 0, size, size);
  return new Uint32Array(context.getImageData(0, 0, size, size).data.buffer);
}
