// The maps of an atlas selection, fetched by epoch and held as bytes.

import { signal } from "@preact/signals";
import { recordedMethods } from "../api/catalogue";
import { getBytes, getJson } from "../api/client";
import { formatEpochs } from "../api/epochs";
import { takePreloaded } from "../api/preload";
import type { Atlas, AtlasRow } from "../api/types";
import type { MapCell } from "./levels";
import type { Geometry } from "./paint";
import { commonScale, type Scale } from "./scale";

/** The parameters of an atlas, without its epochs. */
export interface AtlasSelection {
  runId: number;
  methods: string[];
  rows: "probes" | "classes";
  image: string | null;
}

/** One epoch's maps, in a response that holds several epochs. */
interface EpochMaps {
  levels: Uint8Array; // of all cells of the response
  layout: Atlas; // whose arrays are in the same order
  index: number; // of the epoch in the response
}

// Recorded maps are only read, so that few large responses are fastest. Computed maps come in small responses, so that
// columns appear while the others are computed.
const RECORDED_EPOCHS_PER_REQUEST = 128;
const COMPUTED_EPOCHS_PER_REQUEST = 4;

export class Reel {
  readonly version = signal(0); // counts responses
  readonly failure = signal<Error | null>(null);
  readonly isBusy = signal(false); // requested epochs are missing
  rows: AtlasRow[] = [];
  methods: string[];
  geometry: Geometry | null = null;
  private maps = new Map<number, EpochMaps>(); // by epoch
  private queue: number[] = []; // epochs, those requested last first
  private loading: number[] = []; // epochs of the request in flight
  private isLoading = false;
  private isClosed = false;
  private absent = new Set<number>(); // epochs without maps, as their checkpoints are quarantined
  private readonly epochsPerRequest: number;

  constructor(readonly selection: AtlasSelection) {
    this.methods = selection.methods;
    const isRecorded =
      selection.rows === "probes" && selection.methods.every((method) => recordedMethods().includes(method));
    this.epochsPerRequest = isRecorded ? RECORDED_EPOCHS_PER_REQUEST : COMPUTED_EPOCHS_PER_REQUEST;
  }

  /** A map by the index of its method and row, or null if it is not loaded. */
  cell(method: number, row: number, epoch: number): MapCell | null {
    const maps = this.maps.get(epoch);
    const { geometry } = this;
    if (!maps || !geometry) return null;
    const index = this.cellIndex(maps, method, row);
    const size = geometry.width * geometry.height;
    return {
      levels: maps.levels.subarray(index * size, (index + 1) * size),
      minimum: maps.layout.minimum[index] ?? 0,
      peak: maps.layout.peak[index] ?? 0,
      blank: maps.layout.blank[index]!,
    };
  }

  /** The scale over all loaded epochs of one row, or of all rows if `row` is null. */
  scale(method: number, row: number | null): Scale {
    const scales: Scale[] = [];
    const rows = row === null ? this.rows.keys() : [row];
    for (const index of rows) {
      for (const maps of this.maps.values()) {
        const cell = this.cellIndex(maps, method, index);
        const minimum = maps.layout.minimum[cell] ?? null;
        const peak = maps.layout.peak[cell] ?? null;
        if (minimum !== null && peak !== null) scales.push({ minimum, peak });
      }
    }
    return commonScale(scales);
  }

  /** Requests the epochs that are not loaded, before those that were requested earlier. */
  request(epochs: number[]): void {
    const missing = epochs.filter((epoch) => !this.isKnown(epoch) && !this.loading.includes(epoch));
    if (!missing.length || this.isClosed) return;
    this.queue = [...new Set([...missing, ...this.queue])];
    this.isBusy.value = true;
    // In a microtask, so that all requests of a task are ordered first.
    queueMicrotask(() => void this.load());
  }

  close(): void {
    this.isClosed = true;
    this.queue = [];
  }

  private isKnown(epoch: number): boolean {
    return this.maps.has(epoch) || this.absent.has(epoch);
  }

  /** Index of a cell in its response's arrays, whose order is (method, row, epoch). */
  private cellIndex({ layout, index }: EpochMaps, method: number, row: number): number {
    return (method * this.rows.length + row) * layout.epochs.length + index;
  }

  private async load(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    try {
      while (this.queue.length && !this.isClosed) {
        await this.loadNext();
        this.failure.value = null;
        this.version.value++;
      }
    } catch (error) {
      this.failure.value = error as Error;
      this.queue = [];
    } finally {
      this.loading = [];
      this.isLoading = false;
      this.isBusy.value = false;
    }
  }

  private async loadNext(): Promise<void> {
    if (!this.maps.size && takePreloaded(`${this.path}.bin`, this.params(null))) {
      this.loading = this.queue.splice(0);
      await this.fetch(null);
      // An epoch that was recorded after this response is requested again.
      const last = Math.max(...this.maps.keys());
      this.queue.push(...this.loading.filter((epoch) => epoch > last));
      this.loading = this.loading.filter((epoch) => epoch <= last);
    } else {
      this.loading = this.queue.splice(0, this.epochsPerRequest).sort((a, b) => a - b);
      await this.fetch(this.loading);
    }
    for (const epoch of this.loading) if (!this.maps.has(epoch)) this.absent.add(epoch);
  }

  private get path(): string {
    return `/runs/${this.selection.runId}/atlas`;
  }

  private params(epochs: number[] | null) {
    const { methods, rows, image } = this.selection;
    return { method: methods, rows, image, epochs: epochs && formatEpochs(epochs) };
  }

  /** Fetches these epochs, or all epochs of the run if null. */
  private async fetch(epochs: number[] | null): Promise<void> {
    const params = this.params(epochs);
    // The larger response first, since a browser has few connections to a service.
    const [levels, layout] = await Promise.all([
      getBytes(`${this.path}.bin`, params),
      getJson<Atlas>(`${this.path}.json`, params),
    ]);
    const expected = layout.minimum.length * layout.cell.width * layout.cell.height;
    if (levels.length !== expected) {
      // Without a list of epochs, one may have been recorded between the two responses.
      if (epochs === null) return this.fetch([...this.loading].sort((a, b) => a - b));
      throw new Error(`${this.path}.bin: expected ${expected} bytes, received ${levels.length}`);
    }
    this.store(levels, layout);
  }

  private store(levels: Uint8Array, layout: Atlas): void {
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
    for (const [index, epoch] of layout.epochs.entries()) this.maps.set(epoch, { levels, layout, index });
  }
}
