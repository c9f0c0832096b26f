// Form fields from a JSON schema. A field holds text; an empty one is left to the service's default.

import type { FieldError, Json, Schema } from "../api/types";
import { t } from "../text";
import { fieldLabel, fieldDescription } from "../text/fields";

export type Draft = Record<string, string>;

interface Shared {
  draft: Draft;
  errors: FieldError[];
  onChange: (name: string, value: string) => void;
}

export function Fields({ schemas, prefix, ...shared }: Shared & { schemas: Record<string, Schema>; prefix: string }) {
  return (
    <>
      {Object.entries(schemas).filter(([, schema]) => schema.const === undefined)
        .map(([name, schema]) => <Field key={prefix + name} name={prefix + name} schema={schema} {...shared} />)}
    </>
  );
}

export function Field({ name, schema, draft, errors, onChange }: Shared & { name: string; schema: Schema }) {
  const error = errors.find((one) => one.field === name || one.field.startsWith(`${name}.`));
  const told = [fieldDescription(name, schema), bounds(schema)].filter(Boolean).join(" ");
  const common = {
    id: name,
    "aria-describedby": `${name}-note`,
    "aria-invalid": error ? ("true" as const) : undefined,
  };
  return (
    <div class="field">
      <label for={name}>{fieldLabel(name, schema)}</label>
      {schema.enum ? (
        <select {...common} value={draft[name]} onChange={(event) => onChange(name, event.currentTarget.value)}>
          {schema.enum.map((value) => <option value={String(value)}>{String(value)}</option>)}
        </select>
      ) : (
        <input
          {...common} value={draft[name]} onInput={(event) => onChange(name, event.currentTarget.value)}
          inputMode={schema.type === "integer" ? "numeric" : schema.type === "number" ? "decimal" : "text"}
          placeholder={schema.type === "array" ? t("form.list") : schema.default === undefined && schema.type === "integer" ? t("form.auto") : ""}
        />
      )}
      <p class="note" id={`${name}-note`}>
        {told}
        {error && <strong class="error"> {error.message}</strong>}
      </p>
    </div>
  );
}

/** What the schema allows, and its default. */
function bounds(schema: Schema): string {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below } = schema;
  const parts: string[] = [];
  if (minimum !== undefined && maximum !== undefined) parts.push(t("form.range", { from: minimum, to: maximum }));
  else if (above !== undefined && maximum !== undefined) parts.push(t("form.above", { from: above, to: maximum }));
  else if (minimum !== undefined && below !== undefined) parts.push(t("form.below", { from: minimum, to: below }));
  else if (above !== undefined && below !== undefined) parts.push(t("form.between", { from: above, to: below }));
  if (schema.maxItems !== undefined) {
    parts.push(t(schema.maxItems === schema.minItems ? "form.exactly" : "form.items", { count: schema.maxItems }));
  }
  if (schema.items?.minimum !== undefined && schema.items.maximum !== undefined) {
    parts.push(t("form.each", { from: schema.items.minimum, to: schema.items.maximum }));
  }
  if (schema.default !== undefined && schema.default !== "") parts.push(t("form.default", { value: written(schema.default) }));
  return parts.join(" ");
}

/** Each field's text: from `like` where it has one, else the schema's default. */
export function defaults(schemas: Record<string, Schema>, prefix: string, like?: Record<string, Json> | null): Draft {
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => [prefix + name, written(like?.[name] ?? schema.default ?? "")]),
  );
}

/** The fields' values as the service takes them. What is not a number is sent as it is, and refused by name. */
export function read(schemas: Record<string, Schema>, draft: Draft, prefix: string): Record<string, Json> {
  const values: Record<string, Json> = {};
  for (const [name, schema] of Object.entries(schemas)) {
    const text = (draft[prefix + name] ?? "").trim();
    if (schema.const !== undefined) continue;
    if (schema.type === "array" || schema.prefixItems) {
      const item = schema.items ?? schema.prefixItems?.[0];
      values[name] = text.split(/[\s,]+/).filter(Boolean).map((one) => parsed(one, item));
    } else if (text || (schema.type === "string" && !schema.enum)) {
      values[name] = parsed(text, schema);
    }
  }
  return values;
}

function parsed(text: string, schema: Schema | undefined): Json {
  const numeric = schema?.type === "integer" || schema?.type === "number";
  return numeric && text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}

const written = (value: Json): string => (Array.isArray(value) ? value.map(String).join(", ") : String(value));
