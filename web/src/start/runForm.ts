// The fields of the form for a new run, and the settings that its draft stands for.

import type { Dataset, Json, Parametrized, Schema } from "../api/types";
import { t } from "../text";
import { fieldLabel } from "../text/fields";
import { type Draft, defaultDraft, parseDraft } from "./fieldValues";

/** The settings with alternatives, which have a name and parameters of their own. */
export const PARTS = ["architecture", "optimizer", "schedule"] as const;
export type Part = (typeof PARTS)[number];

/** The parts of the catalogue that the form is generated from. */
export interface FormCatalogue {
  datasets: Dataset[];
  alternatives: Record<Part, Parametrized[]>;
  schema: Schema; // of a run's settings
}

type Schemas = Record<string, Schema>;

const GENERAL = ["name", "tags"];
const TRAINING = [
  "epochs",
  "samples_per_epoch",
  "batch_size",
  "label_smoothing",
  "seed",
  "precision",
  "device",
  "keep_states",
];
/** The settings that are objects of fields without alternatives. */
const GROUPS = ["plant", "augmentation", "probes"] as const;

/** The dataset whose settings say what is planted. */
export const PLANTED = "mnist-planted";

/** The draft's `input` of the run that the form is filled from, as JSON; empty for the dataset's own. */
export const INPUT = "input";

/** The form's fields by group, apart from those of the parts. */
export function runFields({ datasets, schema }: FormCatalogue) {
  const properties = schema.properties!;
  return {
    general: pick(properties, GENERAL),
    dataset: { ...properties.dataset!, enum: datasets.map(({ name }) => name) },
    training: pick(properties, TRAINING),
    plant: (properties.plant && withoutNull(properties.plant).properties) ?? {},
    augmentation: properties.augmentation!.properties!,
    probes: properties.probes!.properties!,
  };
}

/** The names of an alternative: one, or those of a family. */
export function namesOf({ name, parameters }: Parametrized): string[] {
  return parameters.properties!.name?.enum?.map(String) ?? [name];
}

/** The alternative that the draft names. */
export function selectedAlternative({ alternatives }: FormCatalogue, draft: Draft, part: Part): Parametrized {
  const name = draft[`${part}.name`]!;
  return alternatives[part].find((alternative) => namesOf(alternative).includes(name)) ?? alternatives[part][0]!;
}

/** The parameters of the alternative that the draft names. */
export function parameterFields(catalogue: FormCatalogue, draft: Draft, part: Part): Schemas {
  const { properties } = selectedAlternative(catalogue, draft, part).parameters;
  const entries = Object.entries(properties!).filter(([name]) => name !== "name");
  return Object.fromEntries(entries.map(([name, schema]) => [name, withoutNull(schema)]));
}

/** The schema of a value that may be left out, as that of the value: an empty field leaves it out. */
function withoutNull({ anyOf, default: byDefault, ...schema }: Schema): Schema {
  const [value, ...others] = anyOf?.filter(({ type }) => type !== "null") ?? [];
  if (value && others.length === 0) return { ...schema, ...value };
  return { ...schema, anyOf, default: byDefault };
}

/** The schemas of the form's fields by dotted name, in the order of the form; those of the parts' names are enums. */
export function fieldSchemas(catalogue: FormCatalogue, draft: Draft): Schemas {
  const { general, dataset, training, ...groups } = runFields(catalogue);
  const named = (schemas: Schemas, prefix: string): Schemas =>
    Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [prefix + name, schema]));
  const partSchemas = (part: Part): Schemas => ({
    [`${part}.name`]: { type: "string", title: t(`new.${part}`), enum: catalogue.alternatives[part].flatMap(namesOf) },
    ...named(parameterFields(catalogue, draft, part), `${part}.`),
  });
  const [architecture, ...others] = PARTS;
  return Object.assign(
    named({ ...general, dataset }, ""),
    partSchemas(architecture),
    named(training, ""),
    ...others.map(partSchemas),
    ...GROUPS.map((group) => named(groups[group], `${group}.`)),
  );
}

/** The labels of the form's fields by dotted name, in the order of the form. */
export function fieldLabels(catalogue: FormCatalogue, draft: Draft): Record<string, string> {
  const partNames = PARTS.map((part) => `${part}.name`);
  return Object.fromEntries(
    Object.entries(fieldSchemas(catalogue, draft)).map(([name, schema]) => [
      name,
      partNames.includes(name) ? schema.title! : fieldLabel(name, schema),
    ]),
  );
}

/** The draft with another alternative of a part, whose parameters have their defaults. */
export function selectAlternative(catalogue: FormCatalogue, draft: Draft, part: Part, name: string): Draft {
  return { ...draft, ...partDraft(catalogue, part, name) };
}

function partDraft(catalogue: FormCatalogue, part: Part, name: string, template?: Record<string, Json>): Draft {
  const draft = { [`${part}.name`]: name };
  return { ...draft, ...defaultDraft(parameterFields(catalogue, draft, part), `${part}.`, template) };
}

/** The defaults, or the settings of another run. */
export function draftOf(catalogue: FormCatalogue, template: Record<string, Json> | null): Draft {
  const { general, dataset, training, ...groups } = runFields(catalogue);
  const valuesOf = (name: string) => template?.[name] as Record<string, Json> | undefined;
  const parts = PARTS.map((part) => {
    const values = valuesOf(part);
    return partDraft(catalogue, part, String(values?.name ?? defaultName(catalogue, part)), values);
  });
  return Object.assign(
    { [INPUT]: inputDraft(catalogue, template) },
    defaultDraft({ ...general, dataset, ...training }, "", template),
    ...parts,
    ...GROUPS.map((group) => defaultDraft(groups[group], `${group}.`, valuesOf(group))),
  );
}

/** The `input` of another run, if it is not the default of its dataset. */
function inputDraft({ datasets }: FormCatalogue, template: Record<string, Json> | null): string {
  const source = datasets.find(({ name }) => name === template?.dataset);
  const text = JSON.stringify(template?.input ?? null);
  return text === "null" || text === JSON.stringify(source?.default_input) ? "" : text;
}

/** The name of the schema's default alternative, else of the catalogue's first. */
function defaultName({ schema, alternatives }: FormCatalogue, part: Part): string {
  const byDefault = schema.properties![part]?.default as Record<string, Json> | undefined;
  return String(byDefault?.name ?? alternatives[part][0]!.name);
}

/** The settings that the draft stands for, as `POST /runs` takes them. */
export function specOf(catalogue: FormCatalogue, draft: Draft): Record<string, Json> {
  const { general, dataset, training, ...groups } = runFields(catalogue);
  const parts = PARTS.map((part) => {
    const parameters = parseDraft(parameterFields(catalogue, draft, part), draft, `${part}.`);
    return [part, { name: draft[`${part}.name`]!, ...parameters }];
  });
  return {
    ...(draft[INPUT] ? { input: JSON.parse(draft[INPUT]) as Json } : {}),
    ...parseDraft({ ...general, dataset, ...training }, draft, ""),
    ...Object.fromEntries(parts),
    ...Object.fromEntries(
      GROUPS.filter((group) => group !== "plant" || draft.dataset === PLANTED).map((group) => [
        group,
        parseDraft(groups[group], draft, `${group}.`),
      ]),
    ),
  };
}

const pick = (schemas: Schemas, names: string[]): Schemas =>
  Object.fromEntries(names.map((name) => [name, schemas[name]!]));
