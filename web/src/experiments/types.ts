// Responses of the API's experiments, limited to the fields that the page reads.

import type { Json, Status } from "../api/types";

export type Setting = Record<string, Json>; // by dotted path

export interface FieldValues {
  values?: Json[] | null;
  uniform?: [number, number] | null;
  log_uniform?: [number, number] | null;
}

export interface Plan {
  name: string;
  notes: string;
  base: Record<string, Json>;
  fields: Record<string, FieldValues>;
  settings: Setting[] | null;
  samples: number | null;
  seeds: number[];
}

export interface ExperimentSummary {
  id: number;
  name: string;
  notes: string;
  created_at: string;
  plan: Plan;
  fields: string[];
  settings_total: number;
  runs: { total: number } & Record<Exclude<Status, "lost">, number>;
  epochs_done: number;
  epochs_total: number;
}

export interface ExperimentRun {
  run_id: number;
  position: number;
  parameters: Setting;
  seed: number;
  status: Status;
  epochs_done: number;
  epochs_total: number;
  error: { type: string; detail: string } | null;
  measures: Record<string, number | null>;
}

export interface Measure {
  name: string;
  description: string;
  direction: "higher" | "lower" | "neither";
}

export interface Experiment extends ExperimentSummary {
  measures: Measure[];
  items: ExperimentRun[];
  next: string | null;
}

export type Align = "epoch" | "images" | "loss";

export interface Marginal {
  field: string;
  measure: string;
  means: { value: Json; settings: number; runs: number; mean: number }[];
  differences: { first: number; second: number; difference: number; band: number | null; is_noise: boolean | null }[];
  noise_source: "seeds" | "settings" | null;
}

export interface BestSetting {
  measure: string;
  parameters: Setting;
  run_ids: number[];
  mean: number;
  indistinguishable: Setting[] | null;
}

export interface Comparison {
  align: Align;
  column: number | null;
  runs_compared: number;
  marginals: Marginal[];
  best: BestSetting[];
}

export interface MatrixCell {
  run_epochs: Record<string, number>;
  maps: number;
  blank: number;
  levels: string | null; // base64
  measure: number | null;
}

export interface Matrix {
  field: string;
  align: Align;
  measure: string;
  class_name: string;
  side: number;
  image: string; // base64 RGB
  columns: number[];
  rows: { value: Json; run_ids: number[]; cells: MatrixCell[] }[];
}

export interface DryRun {
  runs_total: number;
  settings_total: number;
  estimate: { seconds: number; basis_run_ids: number[]; is_scaled: boolean } | null;
}
