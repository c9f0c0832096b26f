// Responses of the HTTP API (openapi/openapi.json), limited to the fields that the page reads.

export type Status = "queued" | "running" | "lost" | "succeeded" | "failed" | "cancelled";

export interface BlankTotals {
  total: number;
  blank: number;
}

export type Phase = "starting" | "loading" | "training" | "evaluating" | "recording";

/** What a run does now; null where it is not known or does not apply. */
export interface RunActivity {
  phase: Phase | null;
  queue_position: number | null; // 1 for the next run to start
  seconds_per_epoch: number | null;
}

export interface RunProgress extends RunActivity {
  images_seen: number; // of the epoch after the last complete one
  images_total: number;
  test_images_total: number;
}

export interface Run {
  id: number;
  name: string;
  tags: string[];
  notes: string;
  experiment_id: number | null; // null for a single run
  status: Status;
  epochs_done: number; // -1 before epoch 0 is stored
  epochs_total: number;
  progress: RunProgress;
  spec: Spec | null; // null for a run whose training happens elsewhere
  recording: { config: Record<string, Json> } | null; // settings of such a run
  error: { type: string; detail: string } | null;
  summary: { test_accuracy: number[]; blank: Record<string, BlankTotals> };
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  last_event: number;
}

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type Spec = { [key: string]: Json } & { dataset: string; samples_per_epoch: number };

/** What the stored results of a run say, limited to what the page reads. */
export interface Findings {
  items: Finding[]; // the most severe first
  unavailable: { kind: string; reason: string; sentence: string }[];
}

export interface Finding {
  id: string;
  kind: string;
  severity: "changes-predictions" | "evidence-only" | "warning" | "note";
  severity_label: string;
  sentence: string;
  epochs: [first: number, last: number] | null;
  evidence: { name: string; value: number; threshold: number | null; n: number }[];
  refutation: string;
  images: string[]; // references of images that show it
  links: { page: string; picture: string | null }; // relative to the service's root
}

/** How a run diverged, limited to what the page reads. */
export interface Divergence {
  learning_rate: number; // of the run
  suggestion: { learning_rate: number; reason: "fraction" | "default" };
  steps: DivergenceSteps | null; // null for a run of an older version
}

/** The last optimizer steps before a divergence; null where a value is not finite or was not measured. */
export interface DivergenceSteps {
  epoch: number;
  first_step: number; // of these, from 1
  losses: (number | null)[];
  gradient_norms: (number | null)[];
}

export interface Epoch {
  epoch: number;
  train_loss: number | null;
  train_accuracy: number | null;
  test_loss: number;
  test_accuracy: number;
  per_class_accuracy: number[];
  learning_rate: number;
  seconds: number;
}

export type BlankCause = "none" | "saturated" | "all-negative" | "dead" | "not-finite";

export interface AtlasRow {
  image: string;
  class_index: number;
  class_name: string;
  label: number | null;
}

/** Layout of an atlas; the arrays are flat, in order (method, row, epoch). */
export interface Atlas {
  layer: string;
  methods: string[];
  epochs: number[];
  rows: AtlasRow[];
  cell: { width: number; height: number };
  image: { width: number; height: number };
  placement: { first: number; step: number };
  minimum: (number | null)[]; // null where a map is not finite
  peak: (number | null)[];
  blank: BlankCause[];
}

/** The network of a run. */
export interface RunNetwork {
  layers: { name: string; grid: { channels: number; height: number; width: number } }[]; // from the image up
  default_layer: string | null;
}

export interface Scores {
  image: string;
  label: number | null;
  classes: string[];
  epochs: number[];
  probabilities: (number | null)[][]; // null where not finite
}

export interface BlankCount extends BlankTotals {
  by_cause: Record<string, number>;
}

export interface Blanks {
  epsilon: number;
  methods: Record<string, BlankCount>;
  per_epoch: { epoch: number; methods: Record<string, BlankCount> }[];
}

export interface Probe {
  image: string;
  label: number | null;
}

/** What the time of a map is proportional to. */
export type Cost = "forward" | "gradient" | "samples" | "perturbations";

/** Whose positions a map has: those of one layer, of the image's pixels, or of several layers combined. */
export type AttributionLevel = "layer" | "input" | "layers";

export interface Method {
  name: string;
  title: string;
  description: string;
  formula: string;
  source: string;
  year: number;
  cost: Cost;
  attribution_level: AttributionLevel;
  targets: string[];
  parameters: Schema;
  recommended: boolean;
  recorded: boolean; // with every epoch of every run
}

export interface Target {
  name: string;
  formula: string;
  description: string;
}

export interface Colormap {
  name: string;
  kind: "sequential" | "diverging";
  description: string;
  colors: string; // 256 colors RRGGBB
}

export interface Dataset {
  name: string;
  title: string;
  description: string;
  license: string;
  class_names: string[];
  train_size: number;
  default_input: Json; // `input` of runs that do not state one
  bundled: boolean; // part of the installation: works without a download
}

/** A dataset and what is known of its images. */
export interface DatasetReport extends Dataset {
  status: "ready" | "not-measured" | "missing" | "unusable";
  image_shape: [channels: number, height: number, width: number] | null; // null where images differ
  test_size: number;
  classes: { name: string; train: number; test: number }[]; // empty if the files are missing
  imbalance: number | null; // training images of the largest class by those of the smallest
  duplicates: number | null; // test images that equal a training image
  skipped_total: number; // files that are not used
}

export interface DatasetImage {
  image: string; // reference
  label: number;
}

export interface Parametrized {
  name: string;
  description: string;
  parameters: Schema;
}

export interface Architecture extends Parametrized {
  layers: string[];
  default_layer: string | null;
}

/** The part of JSON Schema that the catalogue uses. */
export interface Schema {
  type?: string;
  title?: string;
  description?: string;
  default?: Json;
  const?: Json;
  enum?: Json[];
  properties?: Record<string, Schema>;
  items?: Schema;
  prefixItems?: Schema[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  minItems?: number;
  maxItems?: number;
  maxLength?: number;
  pattern?: string;
  oneOf?: Schema[];
  anyOf?: Schema[];
  $ref?: string;
}

/** One invalid value of a request. `type`, `allowed` and `context` state the reason without a language. */
export interface FieldError {
  field: string; // dotted
  message: string; // in English
  type?: string;
  allowed?: Pick<
    Schema,
    | "type"
    | "enum"
    | "minimum"
    | "maximum"
    | "exclusiveMinimum"
    | "exclusiveMaximum"
    | "maxLength"
    | "minItems"
    | "maxItems"
  >;
  context?: Record<string, Json>;
}

export interface Problem {
  type?: string;
  title: string;
  status: number;
  detail?: string;
  errors?: FieldError[];
}
