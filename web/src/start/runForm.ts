// The fields of the form for a new run, and the settings that its draft stands for.

import type { Architecture, Dataset, Json, Parametrized, Schema } from "../api/types";
import { t } from "../text";
import { fieldLabel } from "../text/fields";
import { type Draft, defaultDraft, parseDraft } from "./fieldValues";

/** The parts of the catalogue that the form is generated from. */
export interface FormCatalogue {
  datasets: Dataset[];
  architectures: Architecture[];
  optimizers: Parametrized[];
  schema: Schema; // of a run's settings
}

type Schemas = Record<string, Schema>;

const GENERAL = ["name", "tags"];
const TRAINING = ["epochs", "samples_per_epoch", "batch_size", "seed", "precision", "device"];
export const OPTIMIZER_NAME = "optimizer.name";

/** The form's fields by group, apart from the optimizer's. */
export function runFields({ datasets, schema, architectures }: FormCatalogue) {
  const properties = schema.properties!;
  return {
    general: pick(properties, GENERAL),
    dataset: { ...properties.dataset!, enum: datasets.map(({ name }) => name) },
    architecture: architectures[0]!,
    training: pick(properties, TRAINING),
    probes: properties.probes!.properties!,
  };
}

/** The parameters of the draft's optimizer. */
export function optimizerFields({ optimizers }: FormCatalogue, draft: Draft): Schemas {
  const optimizer = optimizers.find(({ name }) => name === draft[OPTIMIZER_NAME]) ?? optimizers[0]!;
  const entries = Object.entries(optimizer.parameters.properties!);
  return Object.fromEntries(entries.filter(([name]) => name !== "name"));
}

/** The labels of the form's fields by dotted name, in the order of the form. */
export function fieldLabels(catalogue: FormCatalogue, draft: Draft): Record<string, string> {
  const { general, dataset, architecture, training, probes } = runFields(catalogue);
  const labels = (schemas: Schemas, prefix: string) =>
    Object.entries(schemas)
      .filter(([, schema]) => schema.const === undefined)
      .map(([name, schema]) => [prefix + name, fieldLabel(prefix + name, schema)]);
  return Object.fromEntries([
    ...labels({ ...general, dataset }, ""),
    ...labels(architecture.parameters.properties!, "architecture."),
    ...labels(training, ""),
    [OPTIMIZER_NAME, t("new.optimizer")],
    ...labels(optimizerFields(catalogue, draft), "optimizer."),
    ...labels(probes, "probes."),
  ]);
}

/** The draft with another optimizer, whose parameters have their defaults. */
export function selectOptimizer(catalogue: FormCatalogue, draft: Draft, name: string): Draft {
  const selected = { ...draft, [OPTIMIZER_NAME]: name };
  return { ...selected, ...defaultDraft(optimizerFields(catalogue, selected), "optimizer.") };
}

/** The defaults, or the settings of another run. */
export function draftOf(catalogue: FormCatalogue, template: Record<string, Json> | null): Draft {
  const { general, dataset, architecture, training, probes } = runFields(catalogue);
  const part = (name: string) => template?.[name] as Record<string, Json> | undefined;
  const optimizer = { [OPTIMIZER_NAME]: String(part("optimizer")?.name ?? defaultOptimizer(catalogue)) };
  return {
    ...defaultDraft({ ...general, dataset, ...training }, "", template),
    ...defaultDraft(architecture.parameters.properties!, "architecture.", part("architecture")),
    ...optimizer,
    ...defaultDraft(optimizerFields(catalogue, optimizer), "optimizer.", part("optimizer")),
    ...defaultDraft(probes, "probes.", part("probes")),
  };
}

/** The schema's default optimizer, else the catalogue's first. */
function defaultOptimizer({ schema, optimizers }: FormCatalogue): string {
  const byDefault = schema.properties!.optimizer?.default as Record<string, Json> | undefined;
  return String(byDefault?.name ?? optimizers[0]!.name);
}

/** The settings that the draft stands for, as `POST /runs` takes them. */
export function specOf(catalogue: FormCatalogue, draft: Draft): Record<string, Json> {
  const { general, dataset, architecture, training, probes } = runFields(catalogue);
  const optimizer = parseDraft(optimizerFields(catalogue, draft), draft, "optimizer.");
  return {
    ...parseDraft({ ...general, dataset, ...training }, draft, ""),
    architecture: parseDraft(architecture.parameters.properties!, draft, "architecture."),
    optimizer: { name: draft[OPTIMIZER_NAME]!, ...optimizer },
    probes: parseDraft(probes, draft, "probes."),
  };
}

const pick = (schemas: Schemas, names: string[]): Schemas =>
  Object.fromEntries(names.map((name) => [name, schemas[name]!]));
