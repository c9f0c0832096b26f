import type { ComponentChildren } from "preact";
import type { FieldError, Schema } from "../api/types";
import { number, t } from "../text";
import { fieldErrorText, isErrorOf } from "../text/fieldErrors";
import { fieldDescription, fieldLabel } from "../text/fields";
import { type Draft, formatValue } from "./fieldValues";

export interface FormProps {
  draft: Draft;
  errors: FieldError[];
  onChange: (name: string, value: string) => void;
  omitted?: string[]; // dotted names of fields that are left out
}

/** Form fields of JSON schemas; those of constants are left out. */
export function Fields({ schemas, prefix, ...form }: FormProps & { schemas: Record<string, Schema>; prefix: string }) {
  return (
    <>
      {Object.entries(schemas)
        .filter(([name, schema]) => schema.const === undefined && !form.omitted?.includes(prefix + name))
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
  const attributes = {
    ...describedBy(name, errors),
    value: draft[name],
  };
  return (
    <LabeledField name={name} label={fieldLabel(name, schema)} errors={errors} note={fieldNote(name, schema)}>
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
    </LabeledField>
  );
}

/** The attributes of a field's input that refer to its error messages and its note. */
export function describedBy(name: string, errors: FieldError[]) {
  const isInvalid = errors.some((error) => isErrorOf(name, error));
  return {
    id: name,
    "aria-describedby": isInvalid ? `${name}-error ${name}-note` : `${name}-note`,
    "aria-invalid": isInvalid ? ("true" as const) : undefined,
  };
}

interface LabeledFieldProps {
  name: string; // id of the input
  label: string;
  errors: FieldError[];
  note: string;
  children: ComponentChildren; // the input
}

/** An input with its label, what is wrong with its value, and a note. */
export function LabeledField({ name, label, errors, note, children }: LabeledFieldProps) {
  const messages = errors.filter((error) => isErrorOf(name, error)).map((error) => fieldErrorText(name, error));
  return (
    <div class="field">
      <label for={name}>{label}</label>
      {children}
      {messages.length > 0 && (
        <p class="error" id={`${name}-error`}>
          {messages.join(" ")}
        </p>
      )}
      <p class="note" id={`${name}-note`}>
        {note}
      </p>
    </div>
  );
}

const fieldNote = (name: string, schema: Schema): string =>
  [fieldDescription(name, schema), ...constraints(schema)].filter(Boolean).join(" ");

function inputMode({ type }: Schema): "numeric" | "decimal" | "text" {
  if (type === "integer") return "numeric";
  return type === "number" ? "decimal" : "text";
}

function placeholder({ type, default: byDefault }: Schema): string {
  if (type === "array") return t("form.list");
  return type === "integer" && byDefault === undefined ? t("form.auto") : "";
}

/** Sentences about what the schema allows, and its default. */
export function constraints(schema: Schema): string[] {
  const sentences = [range(schema), itemCount(schema)];
  const { minimum, maximum } = schema.items ?? {};
  if (minimum !== undefined && maximum !== undefined) {
    sentences.push(t("form.each", { from: number(minimum), to: number(maximum) }));
  }
  if (schema.default !== undefined && schema.default !== "") {
    sentences.push(t("form.default", { value: formatValue(schema.default) }));
  }
  return sentences;
}

function range({ type, minimum, maximum, exclusiveMinimum, exclusiveMaximum }: Schema): string {
  const bounds = [minimum ?? exclusiveMinimum, maximum ?? exclusiveMaximum];
  const [from, to] = bounds.map((bound) => (type === "integer" && bound !== undefined ? number(bound) : bound));
  if (from === undefined || to === undefined) return "";
  if (minimum !== undefined)
    return maximum !== undefined ? t("form.range", { from, to }) : t("form.below", { from, to });
  return maximum !== undefined ? t("form.above", { from, to }) : t("form.between", { from, to });
}

function itemCount({ minItems, maxItems: count }: Schema): string {
  if (count === undefined) return "";
  return count === minItems ? t("form.exactly", { count }) : t("form.items", { count });
}
