import type { FieldError, Schema } from "../api/types";
import { describedBy, LabeledField } from "../start/SchemaForm";
import { t } from "../text";
import { fieldLabel } from "../text/fields";
import { KINDS, type Kind, type VaryingField } from "./planForm";

interface Props {
  varying: VaryingField[];
  schemas: Record<string, Schema>; // of all fields that can vary
  errors: FieldError[];
  onChange: (varying: VaryingField[]) => void;
}

/** The label of a field that can vary, with its path, since several parts have fields of one name. */
const label = (path: string, schema: Schema | undefined): string => {
  const isPartName = path.endsWith(".name");
  return isPartName ? (schema?.title ?? path) : fieldLabel(path, schema ?? {});
};

export function VaryingFields({ varying, schemas, errors, onChange }: Props) {
  const change = (path: string, changes: Partial<VaryingField>) =>
    onChange(varying.map((field) => (field.path === path ? { ...field, ...changes } : field)));
  const add = (path: string) => {
    const schema = schemas[path];
    const text = schema?.enum ? schema.enum.slice(0, 2).map(String).join(", ") : "";
    onChange([...varying, { path, kind: "values", text }]);
  };
  const rest = Object.entries(schemas).filter(([path]) => !varying.some((field) => field.path === path));
  return (
    <>
      {!varying.length && <p class="note">{t("plan.varying.none")}</p>}
      {varying.map((field) => (
        <VaryingRow
          key={field.path}
          field={field}
          schema={schemas[field.path]}
          errors={errors}
          onChange={(changes) => change(field.path, changes)}
          onRemove={() => onChange(varying.filter(({ path }) => path !== field.path))}
        />
      ))}
      <div class="field">
        <label for="add-field">{t("plan.varying.add")}</label>
        <select
          id="add-field"
          value=""
          onChange={(event) => event.currentTarget.value && add(event.currentTarget.value)}
        >
          <option value="" />
          {rest.map(([path, schema]) => (
            <option key={path} value={path}>
              {label(path, schema)} ({path})
            </option>
          ))}
        </select>
      </div>
    </>
  );
}

interface RowProps {
  field: VaryingField;
  schema: Schema | undefined;
  errors: FieldError[];
  onChange: (changes: Partial<VaryingField>) => void;
  onRemove: () => void;
}

function VaryingRow({ field: { path, kind, text }, schema, errors, onChange, onRemove }: RowProps) {
  const name = `fields.${path}`;
  const isNumeric = schema?.type === "integer" || schema?.type === "number";
  const note = kind === "values" ? t("plan.values") : t("plan.bounds");
  const choices = schema?.enum ? ` ${schema.enum.map(String).join(", ")}` : "";
  return (
    <div class="varying">
      <LabeledField name={name} label={label(path, schema)} errors={errors} note={`${note}.${choices}`}>
        <div class="varying-inputs">
          <input
            {...describedBy(name, errors)}
            value={text}
            onInput={(event) => onChange({ text: event.currentTarget.value })}
          />
          {isNumeric && (
            <select
              aria-label={t("plan.kind", { name: label(path, schema) })}
              value={kind}
              onChange={(event) => onChange({ kind: event.currentTarget.value as Kind })}
            >
              {KINDS.map((option) => (
                <option key={option} value={option}>
                  {t(`plan.kind.${option}`)}
                </option>
              ))}
            </select>
          )}
          <button type="button" aria-label={t("plan.remove", { name: label(path, schema) })} onClick={onRemove}>
            ×
          </button>
        </div>
      </LabeledField>
    </div>
  );
}
