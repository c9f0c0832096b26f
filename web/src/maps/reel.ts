// The maps of an atlas selection, fetched by epoch and held as bytes.

import { batch, signal } from "@preact/signals";
import { recordedMethods } from "../api/catalogue";
import { ApiError, getBytes, getJson } from "../api/client";
import { formatEpochs } from "../api/epochs";
import { takePreloaded } from "../api/preload";
import type { Atlas, AtlasRow } from "../api/types";
import type { MapCell } from "./levels";
import type { Geometry } from "./paint";
import { commonScale, type Scale } from "./scale";

export type RowKind = "probes" | "classes";

/** The parameters of an atlas of one method, without its epochs. */
export interface AtlasSelection {
  runId: number;
  method: string; // with its target and parameters
  layer: string | null; // null: the default
  rows: RowKind;
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

/**
 * Identifies a row among those of a run's reels of the same kind. The class of a probe without a label is a prediction,
 * which depends on the requested epochs.
 */
export const rowKey = (kind: RowKind, { image, class_index }: AtlasRow): string =>
  kind === "probes" ? image : `${image} ${class_index}`;

export class Reel {
  readonly version = signal(0); // counts changes of the maps
  readonly failure = signal<Error | null>(null);
  readonly isBusy = signal(false); // requested epochs are missing
  rows: AtlasRow[] = [];
  method: string; // in the service's notation, once maps are loaded
  geometry: Geometry | null = null;
  private rowIndices = new Map<string, number>(); // by key
  private maps = new Map<number, EpochMaps>(); // by epoch
  private queue: number[] = []; // epochs, those requested last first
  private loading: number[] = []; // epochs of the request in flight
  private isLoading = false;
  private readonly closing = new AbortController();
  private absent = new Set<number>(); // epochs without maps, as their checkpoints are quarantined
  private quarantine: Error | null = null; // the service's answer where all requested epochs are quarantined
  private readonly epochsPerRequest: number;

  /** `predecessor` is the reel whose maps are shown until those of this one are loaded, or until loading fails. */
  constructor(
    readonly selection: AtlasSelection,
    public predecessor: Reel | null = null,
  ) {
    this.method = selection.method;
    const { method, layer, rows } = selection;
    const isRecorded = layer === null && rows === "probes" && recordedMethods().includes(method);
    this.epochsPerRequest = isRecorded ? RECORDED_EPOCHS_PER_REQUEST : COMPUTED_EPOCHS_PER_REQUEST;
  }

  has(key: string): boolean {
    return this.rowIndices.has(key);
  }

  /** Whether the epoch has no maps, since its checkpoint is damaged. */
  isAbsent(epoch: number): boolean {
    return this.absent.has(epoch);
  }

  /** A row's map, or null if it is not loaded. */
  cell(key: string, epoch: number): MapCell | null {
    const maps = this.maps.get(epoch);
    const row = this.rowIndices.get(key);
    const { geometry } = this;
    if (!maps || !geometry || row === undefined) return null;
    const index = cellIndex(maps, row);
    const size = geometry.width * geometry.height;
    return {
      levels: maps.levels.subarray(index * size, (index + 1) * size),
      minimum: maps.layout.minimum[index] ?? 0,
      peak: maps.layout.peak[index] ?? 0,
      blank: maps.layout.blank[index]!,
    };
  }

  /** The scale over all loaded epochs of one row, or of all rows if `key` is null. */
  scale(key: string | null): Scale {
    const scales: Scale[] = [];
    const rows =
      key === null ? this.rowIndices.values() : [this.rowIndices.get(key)].filter((row) => row !== undefined);
    for (const row of rows) {
      for (const maps of this.maps.values()) {
        const cell = cellIndex(maps, row);
        const minimum = maps.layout.minimum[cell] ?? null;
        const peak = maps.layout.peak[cell] ?? null;
        if (minimum !== null && peak !== null) scales.push({ minimum, peak });
      }
    }
    return commonScale(scales);
  }

  /**
   * Requests the epochs that are not loaded, before those that were requested earlier. After a refusal, which the
   * service would repeat, they wait for `retry`.
   */
  request(epochs: number[]): void {
    const missing = epochs.filter((epoch) => !this.isKnown(epoch) && !this.loading.includes(epoch));
    if (!missing.length) return;
    this.queue = [...new Set([...missing, ...this.queue])];
    const failure = this.failure.peek();
    if (!failure || isTransient(failure)) this.start();
  }

  /** Requests the epochs again whose request failed. */
  retry = (): void => {
    this.failure.value = null;
    this.start();
  };

  /** Cancels all requests. The loaded maps stay. */
  close(): void {
    this.closing.abort();
    this.queue = [];
  }

  private get isClosed(): boolean {
    return this.closing.signal.aborted;
  }

  private start(): void {
    if (!this.queue.length || this.isClosed) return;
    this.isBusy.value = true;
    // In a microtask, so that all requests of a task are ordered first.
    queueMicrotask(() => void this.load());
  }

  private isKnown(epoch: number): boolean {
    return this.maps.has(epoch) || this.absent.has(epoch);
  }

  private async load(): Promise<void> {
    if (this.isLoading) return;
    this.isLoading = true;
    let failure: Error | null = null;
    try {
      while (this.queue.length && !this.isClosed) {
        await this.loadNext();
        batch(() => {
          this.failure.value = null;
          this.version.value++;
        });
      }
    } catch (error) {
      if (this.isClosed) return;
      failure = error as Error;
      this.queue = [...new Set([...this.loading, ...this.queue])];
    }
    this.loading = [];
    this.isLoading = false;
    batch(() => {
      this.failure.value = failure ?? (this.maps.size ? null : this.quarantine);
      this.isBusy.value = false;
      if (this.predecessor) this.version.value++;
      this.predecessor = null;
    });
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
      await this.fetch(this.loading).catch((error) => {
        if (!isQuarantined(error)) throw error;
        this.quarantine = error;
      });
    }
    for (const epoch of this.loading) if (!this.maps.has(epoch)) this.absent.add(epoch);
  }

  private get path(): string {
    return `/runs/${this.selection.runId}/atlas`;
  }

  private params(epochs: number[] | null) {
    const { method, layer, rows, image } = this.selection;
    return { method, layer, rows, image, epochs: epochs && formatEpochs(epochs) };
  }

  /** Fetches these epochs, or all epochs of the run if null. */
  private async fetch(epochs: number[] | null): Promise<void> {
    const params = this.params(epochs);
    // The larger response first, since a browser has few connections to a service.
    const [levels, layout] = await Promise.all([
      getBytes(`${this.path}.bin`, params, this.closing.signal),
      getJson<Atlas>(`${this.path}.json`, params, this.closing.signal),
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
    this.rowIndices = new Map(layout.rows.map((row, index) => [rowKey(this.selection.rows, row), index]));
    this.method = layout.methods[0]!;
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

/** Whether two selections explain the same layer by the same method. */
export const hasSameMethod = (a: AtlasSelection, b: AtlasSelection): boolean =>
  a.method === b.method && a.layer === b.layer;

/** Index of a cell in its response's arrays, whose order is (row, epoch). */
const cellIndex = ({ layout, index }: EpochMaps, row: number): number => row * layout.epochs.length + index;

const statusOf = (error: Error): number | null => (error instanceof ApiError ? error.problem.status : null);

/** Whether the service may answer the same request later. */
const isTransient = (error: Error): boolean => {
  const status = statusOf(error);
  return status === 0 || status === 429 || (status !== null && status >= 500);
};

const isQuarantined = (error: Error): boolean => statusOf(error) === 410;
