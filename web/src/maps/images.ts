// Images as the network of a run sees them: as pixels of any size, for painting maps over them, and as CSS backgrounds.

import { signal } from "@preact/signals";
import { getBlob } from "../api/client";
import { trackRequest } from "../api/pending";
import { containedSize } from "./paint";
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

const keyOf = (runId: number, reference: string): string => `${runId} ${reference}`;

function getImage(runId: number, reference: string): ImageState {
  const key = keyOf(runId, reference);
  if (!images.has(key)) void loadImage(key, runId, reference);
  return images.get(key)!;
}

/** Whether the image is still loading, so that painting a map over it should wait. */
export const isLoading = (runId: number, reference: string): boolean => getImage(runId, reference) === "loading";

/** Width and height of the image; null while it is loading or if it is missing. */
export function imageSize(runId: number, reference: string): { width: number; height: number } | null {
  const image = getImage(runId, reference);
  return typeof image === "string" ? null : { width: image.width, height: image.height };
}

/** The image, scaled to width x height pixels; black while it is loading or if it is missing. */
export function imagePixels(runId: number, reference: string, width: number, height: number): Uint32Array {
  const image = getImage(runId, reference);
  const key = `${keyOf(runId, reference)} ${width} ${height} ${typeof image}`;
  const cached = resized.get(key);
  if (cached) return cached;
  const pixels = typeof image === "string" ? new Uint32Array(width * height).fill(BLACK) : resize(image, width, height);
  if (resized.size >= MAX_RESIZED) resized.clear();
  resized.set(key, pixels);
  return pixels;
}

/** CSS properties of an element that shows the image, its longer side `side` CSS pixels; none until it is loaded. */
export function imageBackground(runId: number, reference: string, side: number): Record<string, string> {
  const image = getImage(runId, reference);
  if (typeof image === "string") return {};
  const { bitmap, url, x, y, width, height } = image;
  const size = containedSize(width, height, side);
  const scaleX = size.width / width;
  const scaleY = size.height / height;
  return {
    width: `${size.width}px`,
    height: `${size.height}px`,
    margin: `${(side - size.height) / 2}px ${(side - size.width) / 2}px`,
    backgroundImage: `url(${url})`,
    backgroundSize: `${bitmap.width * scaleX}px ${bitmap.height * scaleY}px`,
    backgroundPosition: `${-x * scaleX}px ${-y * scaleY}px`,
  };
}

const PROBES_PER_ROW = 32; // of `probes.png`

/** Loads a run's probes, all in one picture. */
export async function loadProbes(runId: number, references: string[]): Promise<void> {
  const missing = references.filter((reference) => typeof (images.get(keyOf(runId, reference)) ?? "") === "string");
  if (!missing.length) return;
  for (const reference of missing) images.set(keyOf(runId, reference), "loading");
  try {
    const { bitmap, url } = await trackRequest(getBlob(`/runs/${runId}/probes.png`).then(decode));
    const width = bitmap.width / Math.min(PROBES_PER_ROW, references.length);
    const height = bitmap.height / Math.ceil(references.length / PROBES_PER_ROW);
    references.forEach((reference, i) => {
      const x = (i % PROBES_PER_ROW) * width;
      const y = Math.floor(i / PROBES_PER_ROW) * height;
      images.set(keyOf(runId, reference), { bitmap, url, x, y, width, height });
    });
  } catch {
    // Each is loaded separately when it is painted next.
    for (const reference of missing) images.delete(keyOf(runId, reference));
  }
  loadedImages.value++;
}

async function loadImage(key: string, runId: number, reference: string): Promise<void> {
  images.set(key, "loading");
  try {
    const { bitmap, url } = await trackRequest(getBlob(`/runs/${runId}/images/${reference}`).then(decode));
    images.set(key, { bitmap, url, x: 0, y: 0, width: bitmap.width, height: bitmap.height });
  } catch {
    images.set(key, "missing"); // its dataset is not on this machine: maps are shown over black
  }
  loadedImages.value++;
}

async function decode(blob: Blob): Promise<{ bitmap: ImageBitmap; url: string }> {
  return { bitmap: await createImageBitmap(blob, { colorSpaceConversion: "none" }), url: URL.createObjectURL(blob) };
}

function resize({ bitmap, x, y, ...region }: ImageRegion, width: number, height: number): Uint32Array {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  // Pixels stay sharp when enlarged, and are averaged when reduced.
  context.imageSmoothingEnabled = width < region.width || height < region.height;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x, y, region.width, region.height, 0, 0, width, height);
  return new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
}
