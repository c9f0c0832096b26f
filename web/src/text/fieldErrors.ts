// What is wrong with a field, in the page's language: made from the error's type and the field's constraints.

import type { FieldError, Json } from "../api/types";
import type { Texts } from "./english";
import { number, t } from "./index";

/** Texts of errors that the constraints of the field do not explain. Their slots are the error's context. */
const REASONS: Record<string, keyof Texts> = {
  missing: "error.missing",
  extra_forbidden: "error.unknown",
  even_number: "error.odd",
  unknown_dataset: "error.unknownDataset",
  not_planted: "error.notPlanted",
  unknown_plant: "error.unknownPlant",
  more_than_dataset: "error.dataset",
  probe_count: "error.probes",
  warmup_too_long: "error.warmup",
  states_format: "error.states",
  unfit_images: "error.unfit",
  weights_format: "error.weights",
  trainable_format: "error.trainable",
  image_reference: "error.reference",
  image_index: "error.index",
  refused_character: "error.character",
  invisible_text: "error.invisible",
  tag_format: "error.tag",
  missing_upload: "error.upload",
  device_unavailable: "error.device",
  epochs_reached: "error.epochs",
};

/** Whether the error is one of a field of the form, or of an item of its list. */
export const isErrorOf = (name: string, { field }: FieldError): boolean =>
  field === name || field.startsWith(`${name}.`);

/** The error as a sentence to stand at the field of that name; an item of a list is numbered. */
export function fieldErrorText(name: string, error: FieldError): string {
  const item = /^\.(\d+)$/.exec(error.field.slice(name.length));
  const sentence = errorText(error);
  return item ? t("error.item", { number: Number(item[1]) + 1, sentence }) : sentence;
}

/** The error as a sentence; the service's own, which is English, for a reason that the page does not know. */
export function errorText({ type, message, allowed = {}, context = {} }: FieldError): string {
  const reason = REASONS[type ?? ""];
  if (reason) return t(reason, slots({ ...bounds(allowed), ...context }));
  return constraintText(allowed) ?? message;
}

function constraintText(allowed: Constraints): string | undefined {
  if (allowed.enum) return t("error.choice", { values: allowed.enum.join(", ") });
  if (allowed.type === "integer" || allowed.type === "number") return numberText(allowed.type, allowed);
  if (allowed.type === "string" && allowed.maxLength) return t("error.length", slots({ count: allowed.maxLength }));
  if (allowed.type === "array" && allowed.maxItems) {
    return t(allowed.minItems === allowed.maxItems ? "error.items.exactly" : "error.items", {
      count: allowed.maxItems,
    });
  }
  return undefined;
}

function numberText(type: "integer" | "number", allowed: Constraints): string {
  const { from, to } = bounds(allowed);
  if (from === undefined || to === undefined) return t(`error.${type}`);
  if (type === "integer") return t("error.integer.range", slots({ from, to }));
  if (allowed.exclusiveMinimum !== undefined) return t("error.number.above", slots({ from, to }));
  return t(allowed.exclusiveMaximum === undefined ? "error.number.range" : "error.number.below", slots({ from, to }));
}

type Constraints = NonNullable<FieldError["allowed"]>;

const bounds = ({ minimum, maximum, exclusiveMinimum, exclusiveMaximum, enum: values }: Constraints) => ({
  from: minimum ?? exclusiveMinimum,
  to: maximum ?? exclusiveMaximum,
  values: values?.join(", "),
});

/** The values as texts, numbers with grouped thousands. */
function slots(values: Record<string, Json | undefined>): Record<string, string> {
  const text = (value: Json) => (Number.isInteger(value) ? number(value as number) : String(value));
  const present = Object.entries(values).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  return Object.fromEntries(present.map(([name, value]) => [name, text(value)]));
}
