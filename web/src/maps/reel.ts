// The maps of a run as the page holds them: columns by epoch, fetched as atlases, kept as bytes.

import { signal } from "@preact/signals";
import { getBlob, getJson } from "../api/client";
import type { Atlas, AtlasRow, BlankCause } from "../api/types";
import type { MapCell } from "./levels";
import type { Geometry } from "./paint";
import { shared, type Scale } from "./scale";

/** Which maps: everything of an atlas but its epochs. */
export interface Question {
  runId: number;
  methods: string[];
  rows: "probes" | "classes";
  image: string | null;
}

/** One epoch's maps, in order (method, row). */
interface Column {
  levels: Uint8Array;
  minimum: number[];
  peak: number[];
  blank: BlankCause[];
}

// What every run records is read from rows, and few large answers come soonest. What has to be
// computed comes in small ones, so that columns appear while the rest is being made.
const RECORDED = ["conventional", "proposed"];
const RECORDED_AT_ONCE = 128;
const COMPUTED_AT_ONCE = 4;

export class Reel {
  readonly changed = signal(0);
  readonly failure = signal<Error | null>(null);
  readonly busy = signal(false); // something that was asked for is not here yet
  rows: AtlasRow[] = [];
  methods: string[];
  geometry: Geometry | null = null;
  private columns = new Map<number, Column>();
  private wanted: number[] = []; // what was asked last comes first
  private coming: number[] = []; // asked of the service now
  private working = false;
  private closed = false;

  readonly recorded: boolean; // with the epochs: nothing has to be computed
  private readonly epochsAtOnce: number;

  constructor(readonly question: Question) {
    this.methods = question.methods;
    this.recorded = question.rows === "probes" && question.methods.every((method) => RECORDED.includes(method));
    this.epochsAtOnce = this.recorded ? RECORDED_AT_ONCE : COMPUTED_AT_ONCE;
  }

  cell(method: number, row: number, epoch: number): MapCell | null {
    const column = this.columns.get(epoch);
    const geometry = this.geometry;
    if (!column || !geometry) return null;
    const at = method * this.rows.length + row;
    const size = geometry.width * geometry.height;
    return {
      levels: column.levels.subarray(at * size, (at + 1) * size),
      minimum: column.minimum[at]!,
      peak: column.peak[at]!,
      blank: column.blank[at]!,
    };
  }

  /** The scale over the epochs that are here, of one row or of all rows by that method. */
  scale(method: number, row: number | null): Scale {
    const found: Scale[] = [];
    const rows = row === null ? this.rows.map((_, index) => index) : [row];
    for (const column of this.columns.values()) {
      for (const one of rows) {
        const at = method * this.rows.length + one;
        found.push({ minimum: column.minimum[at]!, peak: column.peak[at]! });
      }
    }
    return shared(found);
  }

  /** Ask for those of these epochs that are not here; they come before what was asked earlier. */
  need(epochs: number[]): void {
    const missing = epochs.filter((epoch) => !this.columns.has(epoch) && !this.coming.includes(epoch));
    if (!missing.length || this.closed) return;
    this.wanted = [...new Set([...missing, ...this.wanted])];
    this.busy.value = true;
    // Not at once: what is asked in the same breath is put in order first.
    queueMicrotask(() => void this.work());
  }

  close(): void {
    this.closed = true;
    this.wanted = [];
  }

  private async work(): Promise<void> {
    if (this.working) return;
    this.working = true;
    try {
      while (this.wanted.length && !this.closed) {
        this.coming = this.wanted.splice(0, this.epochsAtOnce).sort((a, b) => a - b);
        await this.fetch(this.coming);
        this.failure.value = null;
        this.changed.value++;
      }
    } catch (error) {
      this.failure.value = error as Error;
      this.wanted = [];
    } finally {
      this.coming = [];
      this.working = false;
      this.busy.value = false;
    }
  }

  private async fetch(epochs: number[]): Promise<void> {
    const { runId, methods, rows, image } = this.question;
    const params = { method: methods, rows, image, epochs: ranges(epochs) };
    const path = `/runs/${runId}/atlas`;
    // The larger one first: a browser has few connections to a service.
    const [picture, layout] = await Promise.all([
      getBlob(path, "image/png", params), getJson<Atlas>(`${path}.json`, params),
    ]);
    const bytes = await grayLevels(picture);
    this.rows = layout.rows;
    this.methods = layout.methods;
    this.geometry = {
      width: layout.cell.width,
      height: layout.cell.height,
      imageWidth: layout.image.width,
      imageHeight: layout.image.height,
      first: layout.placement.first,
      step: layout.placement.step,
    };
    split(layout, bytes).forEach((column, index) => this.columns.set(layout.epochs[index]!, column));
  }
}

/** An atlas's bytes, each epoch's apart. */
function split(layout: Atlas, bytes: Uint8Array): Column[] {
  const { width, height } = layout.cell;
  const count = layout.epochs.length;
  const cells = layout.methods.length * layout.rows.length;
  const stride = count * width;
  return layout.epochs.map((_, e) => {
    const levels = new Uint8Array(cells * width * height);
    for (let y = 0; y < cells * height; y++) {
      levels.set(bytes.subarray(y * stride + e * width, y * stride + (e + 1) * width), y * width);
    }
    const pick = <T>(all: T[]): T[] => Array.from({ length: cells }, (_, at) => all[at * count + e]!);
    return { levels, minimum: pick(layout.minimum), peak: pick(layout.peak), blank: pick(layout.blank) };
  });
}

/** A gray PNG's bytes, no colour management in between. */
async function grayLevels(png: Blob): Promise<Uint8Array> {
  const bitmap = await createImageBitmap(png, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const rgba = context.getImageData(0, 0, width, height).data;
  const gray = new Uint8Array(width * height);
  for (let i = 0; i < gray.length; i++) gray[i] = rgba[4 * i]!;
  return gray;
}

/** Epochs as the API takes them: `0:98:2`, or a list where they are not even. */
export function ranges(epochs: number[]): string {
  if (epochs.length < 3) return epochs.join(",");
  const step = epochs[1]! - epochs[0]!;
  const even = epochs.every((epoch, i) => i === 0 || epoch - epochs[i - 1]! === step);
  return even ? `${epochs[0]}:${epochs.at(-1)}:${step}` : epochs.join(",");
}
