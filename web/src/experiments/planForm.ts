// The form of a new experiment: the fields that vary, and the plan that the form stands for.

import type { FieldError, Json, Schema } from "../api/types";
import type { Draft } from "../start/fieldValues";
import { type FormCatalogue, fieldSchemas, PARTS, specOf } from "../start/runForm";
import type { FieldValues, Plan } from "./types";

export const KINDS = ["values", "uniform", "log_uniform"] as const;
export type Kind = (typeof KINDS)[number];

/** A field that varies: its values, or the bounds of a range, as text. */
export interface VaryingField {
  path: string;
  kind: Kind;
  text: string;
}

export interface PlanDraft {
  name: string;
  varying: VaryingField[];
  samples: string;
  seeds: string;
}

const NOT_VARYING = ["name", "tags", "seed"];

/** The schemas of the fields that can vary, by dotted path; a list of values of a list is not offered. */
export function varyingSchemas(catalogue: FormCatalogue, draft: Draft): Record<string, Schema> {
  return Object.fromEntries(
    Object.entries(fieldSchemas(catalogue, draft)).filter(
      ([path, { type, anyOf }]) => !NOT_VARYING.includes(path) && type !== "array" && !anyOf,
    ),
  );
}

const items = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

/** A number where the text is one and the field takes one; other text stays text, for the service to refuse. */
function parseItem(text: string, schema: Schema | undefined): Json {
  const isNumeric = schema?.type === "integer" || schema?.type === "number";
  if (schema?.type === "boolean") return text === "true" ? true : text === "false" ? false : text;
  return isNumeric && Number.isFinite(Number(text)) ? Number(text) : text;
}

function parseValues({ kind, text }: VaryingField, schema: Schema | undefined): Record<string, Json> {
  return { [kind]: items(text).map((item) => parseItem(item, kind === "values" ? schema : { type: "number" })) };
}

const numberOf = (text: string): Json => (Number.isFinite(Number(text)) ? Number(text) : text);

/** The plan that the form stands for, as `POST /experiments` takes it. */
export function planOf(catalogue: FormCatalogue, draft: Draft, plan: PlanDraft): Record<string, Json> {
  const schemas = varyingSchemas(catalogue, draft);
  const { name: _, seed: __, ...base } = specOf(catalogue, draft);
  for (const part of PARTS) {
    // The parameters of one alternative are not those of the others.
    if (plan.varying.some(({ path }) => path === `${part}.name`)) delete base[part];
  }
  return {
    name: plan.name,
    base,
    fields: Object.fromEntries(plan.varying.map((field) => [field.path, parseValues(field, schemas[field.path])])),
    ...(plan.samples.trim() && { samples: numberOf(plan.samples) }),
    seeds: items(plan.seeds).map(numberOf),
  };
}

/** The form of an existing plan. A list of settings has no form: its fields are empty. */
export function planDraftOf(plan: Plan): PlanDraft {
  return {
    name: plan.name,
    varying: Object.entries(plan.fields).map(([path, values]) => varyingOf(path, values)),
    samples: plan.samples === null ? "" : String(plan.samples),
    seeds: plan.seeds.join(", "),
  };
}

function varyingOf(path: string, values: FieldValues): VaryingField {
  const kind = KINDS.find((name) => values[name]) ?? "values";
  return { path, kind, text: (values[kind] ?? []).map(String).join(", ") };
}

/** The errors of the service with the names of the form's fields: those of the base without their prefix. */
export const formErrors = (errors: FieldError[]): FieldError[] =>
  errors.map((error) => ({ ...error, field: error.field.replace(/^base\./, "") }));
