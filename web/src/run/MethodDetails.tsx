// What the selected methods compute, and their parameters.

import { type Signal, useSignal } from "@preact/signals";
import type { Method, Schema } from "../api/types";
import { Details } from "../components/Details";
import { catalogue } from "../hooks/useCatalogue";
import {
  formatMethodSpec,
  isAllowed,
  methodParameters,
  parameterValue,
  parseMethodSpec,
  withParameter,
} from "../maps/methodSpec";
import { constraints, describedBy, LabeledField } from "../start/SchemaForm";
import { t } from "../text";
import {
  methodDescription,
  methodTitle,
  parameterDescription,
  parameterLabel,
  targetDescription,
} from "../text/methods";
import { costAndTargets } from "./MethodChoice";

interface Props {
  methods: [name: string, value: Signal<string>][]; // "A" or "B", or empty
}

export function MethodDetails({ methods }: Props) {
  return (
    <Details class="method-details" summary={t("options.details")}>
      {() => (
        <div class="method-cards">
          {methods.map(([name, value]) => (
            <MethodCard key={name} name={name} value={value} />
          ))}
        </div>
      )}
    </Details>
  );
}

function MethodCard({ name, value }: { name: string; value: Signal<string> }) {
  const spec = parseMethodSpec(value.value);
  const method = catalogue.methods.value.find((candidate) => candidate.name === spec.method);
  if (!method) return null;
  const target = catalogue.targets.value.find((candidate) => candidate.name === (spec.target ?? method.targets[0]));
  return (
    <section aria-label={`${t("options.method", { name }).trim()}: ${methodTitle(method)}`}>
      <h3>
        {name && `${name} · `}
        {methodTitle(method)}
      </h3>
      <p>{methodDescription(method)}</p>
      <p>
        <code>{method.formula}</code>{" "}
        <span class="muted">
          {method.source}, {method.year}
        </span>
      </p>
      {target && (
        <p>
          {t("options.target")}: <code>{target.name}</code> = <code>{target.formula}</code>. {targetDescription(target)}
        </p>
      )}
      <p class="muted">{costAndTargets(method)}</p>
      <div class="parameters">
        {methodParameters(method).map(([parameter, schema]) => (
          <ParameterField
            key={`${method.name} ${parameter}`}
            side={name}
            name={parameter}
            schema={schema}
            text={parameterValue(spec, parameter, schema)}
            onChange={(next) => (value.value = formatMethodSpec(withParameter(spec, parameter, next, schema)))}
          />
        ))}
      </div>
      <ResetButton method={method} value={value} />
    </section>
  );
}

interface ParameterProps {
  side: string;
  name: string;
  schema: Schema;
  text: string;
  onChange: (text: string) => void;
}

/** A number, which is applied when the field is left or Enter is pressed, if it is allowed. */
function ParameterField({ side, name, schema, text, onChange }: ParameterProps) {
  const refused = useSignal<string | null>(null);
  const id = `parameter-${side}-${name}`;
  const errors = refused.value === null ? [] : [{ field: id, message: "", allowed: schema }];
  const apply = (next: string) => {
    refused.value = isAllowed(schema, next) ? null : next;
    if (refused.value === null) onChange(next);
  };
  const note = [parameterDescription(schema), ...constraints(schema)].filter(Boolean).join(" ");
  return (
    <LabeledField name={id} label={parameterLabel(name, schema)} errors={errors} note={note}>
      <input
        {...describedBy(id, errors)}
        value={refused.value ?? text}
        inputMode={schema.type === "integer" ? "numeric" : "decimal"}
        autocomplete="off"
        onChange={(event) => apply(event.currentTarget.value)}
      />
    </LabeledField>
  );
}

/** Sets all parameters to their defaults. */
function ResetButton({ method, value }: { method: Method; value: Signal<string> }) {
  const spec = parseMethodSpec(value.value);
  if (!methodParameters(method).length) return null;
  return (
    <button
      type="button"
      disabled={!spec.query}
      onClick={() => (value.value = formatMethodSpec({ ...spec, query: "" }))}
    >
      {t("options.reset")}
    </button>
  );
}
