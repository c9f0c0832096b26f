import type { FieldError, Schema } from "../api/types";
import { t } from "../text";
import { fieldDescription, fieldLabel } from "../text/fields";
import { type Draft, formatValue } from "./fieldValues";

interface FormProps {
  draft: Draft;
  errors: FieldError[];
  onChange: (name: string, value: string) => void;
}

/** Form fields of JSON schemas; those of constants are left out. */
export function Fields({ schemas, prefix, ...form }: FormProps & { schemas: Record<string, Schema>; prefix: string }) {
  return (
    <>
      {Object.entries(schemas)
        .filter(([, schema]) => schema.const === undefined)
        .map(([name, schema]) => (
          <Field key={prefix + name} name={prefix + name} schema={schema} {...form} />
        ))}
    </>
  );
}

interface FieldProps extends FormProps {
  name: string; // dotted
  schema: Schema;
}

export function Field({ name, schema, draft, errors, onChange }: FieldProps) {
  const error = errors.find(({ field }) => field === name || field.startsWith(`${name}.`));
  const attributes = {
    id: name,
    value: draft[name],
    "aria-describedby": `${name}-note`,
    "aria-invalid": error ? ("true" as const) : undefined,
  };
  return (
    <div class="field">
      <label for={name}>{fieldLabel(name, schema)}</label>
      {schema.enum ? (
        <select {...attributes} onChange={(event) => onChange(name, event.currentTarget.value)}>
          {schema.enum.map((value) => (
            <option key={String(value)} value={String(value)}>
              {String(value)}
            </option>
          ))}
        </select>
      ) : (
        <input
          {...attributes}
          onInput={(event) => onChange(name, event.currentTarget.value)}
          inputMode={inputMode(schema)}
          placeholder={placeholder(schema)}
        />
      )}
      <p class="note" id={`${name}-note`}>
        {[fieldDescription(name, schema), ...constraints(schema)].filter(Boolean).join(" ")}
        {error && <strong class="error"> {error.message}</strong>}
      </p>
    </div>
  );
}

function inputMode({ type }: Schema): "numeric" | "decimal" | "text" {
  if (type === "integer") return "numeric";
  return type === "number" ? "decimal" : "text";
}

function placeholder({ type, default: byDefault }: Schema): string {
  if (type === "array") return t("form.list");
  return type === "integer" && byDefault === undefined ? t("form.auto") : "";
}

/** Sentences about what the schema allows, and its default. */
function constraints(schema: Schema): string[] {
  const sentences = [range(schema), itemCount(schema)];
  const { minimum, maximum } = schema.items ?? {};
  if (minimum !== undefined && maximum !== undefined) {
    sentences.push(t("form.each", { from: minimum, to: maximum }));
  }
  if (schema.default !== undefined && schema.default !== "") {
    sentences.push(t("form.default", { value: formatValue(schema.default) }));
  }
  return sentences;
}

function range({ minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Schema): string {
  const from = minimum ?? exclusiveMinimum;
  const to = maximum ?? exclusiveMaximum;
  if (from === undefined || to === undefined) return "";
  if (minimum !== undefined)
    return maximum !== undefined ? t("form.range", { from, to }) : t("form.below", { from, to });
  return maximum !== undefined ? t("form.above", { from, to }) : t("form.between", { from, to });
}

function itemCount({ minItems, maxItems: count }: Schema): string {
  if (count === undefined) return "";
  return count === minItems ? t("form.exactly", { count }) : t("form.items", { count });
}
