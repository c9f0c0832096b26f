// The maps of a run as the page holds them: columns by epoch, fetched as atlases, kept as bytes.

import { signal } from "@preact/signals";
import { getBytes, getJson } from "../api/client";
import type { Atlas, AtlasRow } from "../api/types";
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

/** One epoch's maps, in an answer that has several epochs. */
interface Column {
  levels: Uint8Array; // cell after cell
  layout: Atlas; // whose arrays are in the same order
  place: number; // of the epoch in it
}

// What every run records is read from rows, and few large answers come soonest. What has to be
// computed comes in small ones, so that columns appear while the rest is being made.
const RECORDED = ["conventional", "proposed"];
const RECORDED_AT_ONCE = 128;
const WHOLE_AT_MOST = 1_500; // cells a method; `service/api/preload_hints.py` tells a browser the same
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
  private absent = new Set<number>(); // quarantined: there is nothing to ask for again
  private whole = false; // what is wanted is all that there is

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
    const at = this.place(column, method, row);
    const size = geometry.width * geometry.height;
    return {
      levels: column.levels.subarray(at * size, (at + 1) * size),
      minimum: column.layout.minimum[at] ?? 0,
      peak: column.layout.peak[at] ?? 0,
      blank: column.layout.blank[at]!,
    };
  }

  /** Of a cell in its answer's arrays. */
  private place({ layout, place }: Column, method: number, row: number): number {
    return (method * this.rows.length + row) * layout.epochs.length + place;
  }

  /** The scale over the epochs that are here, of one row or of all rows by that method. */
  scale(method: number, row: number | null): Scale {
    const found: Scale[] = [];
    const rows = row === null ? this.rows.map((_, index) => index) : [row];
    for (const column of this.columns.values()) {
      for (const one of rows) {
        const at = this.place(column, method, one);
        const minimum = column.layout.minimum[at] ?? null;
        const peak = column.layout.peak[at] ?? null;
        if (minimum !== null && peak !== null) found.push({ minimum, peak });
      }
    }
    return shared(found);
  }

  /** Ask for those of these epochs that are not here; they come before what was asked earlier. */
  need(epochs: number[]): void {
    const missing = epochs.filter((epoch) => !this.columns.has(epoch) && !this.absent.has(epoch) && !this.coming.includes(epoch));
    if (!missing.length || this.closed) return;
    this.wanted = [...new Set([...missing, ...this.wanted])];
    this.busy.value = true;
    // Not at once: what is asked in the same breath is put in order first.
    queueMicrotask(() => void this.work());
  }

  /** Whether all these epochs of so many rows come in one answer. */
  atOnce(epochs: number, rows: number): boolean {
    return this.recorded && epochs <= RECORDED_AT_ONCE && epochs * rows <= WHOLE_AT_MOST;
  }

  /** Ask for all epochs that there are, of a run that `atOnce` holds for, while nothing is here. */
  needAll(last: number): void {
    const all = Array.from({ length: last + 1 }, (_, epoch) => epoch);
    this.whole = !this.columns.size && !this.working;
    this.need(all);
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
        const { whole } = this;
        this.whole = false;
        await this.fetch(whole ? null : this.coming);
        for (const epoch of this.coming) if (!this.columns.has(epoch)) this.absent.add(epoch);
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

  private async fetch(epochs: number[] | null): Promise<void> {
    const { runId, methods, rows, image } = this.question;
    const params = { method: methods, rows, image, epochs: epochs && ranges(epochs) };
    const path = `/runs/${runId}/atlas`;
    // The larger one first: a browser has few connections to a service.
    const [levels, layout] = await Promise.all([
      getBytes(`${path}.bin`, params), getJson<Atlas>(`${path}.json`, params),
    ]);
    const expected = layout.minimum.length * layout.cell.width * layout.cell.height;
    // An epoch has landed between the two answers, of which neither was told how many there are.
    if (levels.length !== expected && epochs === null) return this.fetch(this.coming);
    if (levels.length !== expected) throw new Error(`${path}.bin: ${levels.length} bytes, not ${expected}`);
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
    layout.epochs.forEach((epoch, place) => this.columns.set(epoch, { levels, layout, place }));
  }
}

/** Epochs as the API takes them: `0:98:2`, or a list where they are not even. */
export function ranges(epochs: number[]): string {
  if (epochs.length < 3) return epochs.join(",");
  const step = epochs[1]! - epochs[0]!;
  const even = epochs.every((epoch, i) => i === 0 || epoch - epochs[i - 1]! === step);
  return even ? `${epochs[0]}:${epochs.at(-1)}:${step}` : epochs.join(",");
}
