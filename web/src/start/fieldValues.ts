// The text of form fields and the JSON values that it stands for.

import type { Json, Schema } from "../api/types";

/** The text of each field, by dotted name. An empty one leaves the value to the service's default. */
export type Draft = Record<string, string>;

/** The text of each field: from `template` where it has the value, else the schema's default. */
export function defaultDraft(
  schemas: Record<string, Schema>,
  prefix: string,
  template?: Record<string, Json> | null,
): Draft {
  const text = ([name, schema]: [string, Schema]) => formatValue(template?.[name] ?? schema.default ?? "");
  return Object.fromEntries(Object.entries(schemas).map((entry) => [prefix + entry[0], text(entry)]));
}

/** The fields' values. Text that is not a number stays text, so that the service rejects it with the field's name. */
export function parseDraft(schemas: Record<string, Schema>, draft: Draft, prefix: string): Record<string, Json> {
  const values: Record<string, Json> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const text = (draft[prefix + name] ?? "").trim();
    if (schema.const !== undefined) continue;
    if (schema.type === "array" || schema.prefixItems) {
      const itemSchema = schema.items ?? schema.prefixItems?.[0];
      values[name] = listItems(text).map((item) => parseValue(item, itemSchema));
    } else if (schema.anyOf) {
      values[name] = parseAlternative(text, schema.anyOf);
    } else if (text || (schema.type === "string" && !schema.enum)) {
      values[name] = parseValue(text, schema);
    }
  }
  return values;
}

/** Text that is one of the alternatives' names stays text; other text is the list that another one takes. */
function parseAlternative(text: string, alternatives: Schema[]): Json {
  const isName = alternatives.some((schema) => schema.enum?.includes(text));
  const list = alternatives.find(({ type }) => type === "array");
  return isName || !list ? text : listItems(text).map((item) => parseValue(item, list.items));
}

const listItems = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

function parseValue(text: string, schema: Schema | undefined): Json {
  const isNumeric = schema?.type === "integer" || schema?.type === "number";
  return isNumeric && text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

export const formatValue = (value: Json): string =>
  Array.isArray(value) ? value.map(String).join(", ") : String(value);
