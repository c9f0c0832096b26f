// The choice of a method, and of the target that its maps explain.

import type { Signal } from "@preact/signals";
import type { Method } from "../api/types";
import { SearchableSelect } from "../components/SearchableSelect";
import { catalogue, isRecorded } from "../hooks/useCatalogue";
import { formatMethodSpec, type MethodSpec, parseMethodSpec } from "../maps/methodSpec";
import { t } from "../text";
import { methodDescription, methodTitle, targetDescription } from "../text/methods";
import { RichOption, RichSelect } from "./RichSelect";

interface MethodProps {
  name: string; // "A" or "B", or empty
  value: Signal<string>; // in the notation `layer-cam/margin`
  classNames: readonly string[]; // which can be contrasted
}

export function MethodChoice({ name, value, classNames }: MethodProps) {
  const spec = parseMethodSpec(value.value);
  const methods = catalogue.methods.value;
  const method = methods.find((candidate) => candidate.name === spec.method);
  const title = method ? methodTitle(method) : methodTitle({ name: spec.method, title: spec.method });
  const setSpec = (changes: Partial<MethodSpec>) => (value.value = formatMethodSpec({ ...spec, ...changes }));
  return (
    <>
      <RichSelect
        label={t("options.method", { name }).trim()}
        text={title}
        value={spec.method}
        onChange={(selected) => (value.value = selected)}
      >
        {!method && <option value={spec.method}>{title}</option>}
        <MethodGroup label={t("options.method.paper")} methods={methods.filter((m) => m.recorded)} />
        <MethodGroup label={t("options.method.recommended")} methods={methods.filter((m) => m.recommended)} />
        <MethodGroup label={t("options.method.all")} methods={methods.filter((m) => !m.recommended && !m.recorded)} />
      </RichSelect>
      {method && !isRecorded(spec.method) && method.targets.length > 1 && (
        <TargetChoice method={method} spec={spec} onChange={setSpec} />
      )}
      {spec.target === "contrast" && <ContrastChoice spec={spec} classNames={classNames} onChange={setSpec} />}
    </>
  );
}

function MethodGroup({ label, methods }: { label: string; methods: Method[] }) {
  return (
    <optgroup label={label}>
      {methods.map((method) => (
        <RichOption key={method.name} value={method.name} text={methodTitle(method)}>
          {methodDescription(method)}
          <span class="muted">{costAndTargets(method)}</span>
        </RichOption>
      ))}
    </optgroup>
  );
}

/** What the time of a map depends on, and the names of the scores that the method explains. */
export const costAndTargets = ({ cost, targets }: Method): string =>
  [
    t("options.cost", { cost: t(`cost.${cost}`) }),
    targets.length ? t("options.targets", { targets: targets.join(", ") }) : t("options.targets.none"),
  ].join(" ");

interface TargetProps {
  method: Method;
  spec: MethodSpec;
  onChange: (changes: Partial<MethodSpec>) => void;
}

function TargetChoice({ method: { targets }, spec, onChange }: TargetProps) {
  const target = spec.target ?? targets[0]!;
  const entries = catalogue.targets.value;
  const select = (name: string) =>
    onChange({
      target: targets[0] === name ? undefined : name,
      contrastClass: name === "contrast" ? "0" : undefined,
    });
  return (
    <RichSelect label={t("options.target")} text={target} value={target} onChange={select}>
      {!targets.includes(target) && <option value={target}>{target}</option>}
      {targets.map((name) => {
        const entry = entries.find((candidate) => candidate.name === name);
        return (
          <RichOption key={name} value={name} text={name}>
            {entry && targetDescription(entry)}
            <span class="muted">{entry?.formula}</span>
          </RichOption>
        );
      })}
    </RichSelect>
  );
}

interface ContrastProps {
  spec: MethodSpec;
  classNames: readonly string[];
  onChange: (changes: Partial<MethodSpec>) => void;
}

/** The class d whose score is subtracted. */
function ContrastChoice({ spec: { contrastClass = "" }, classNames, onChange }: ContrastProps) {
  const options = classNames.map((name, index) => ({ value: String(index), text: name }));
  if (!classNames[Number(contrastClass)]) options.push({ value: contrastClass, text: contrastClass });
  return (
    <SearchableSelect
      label={t("options.contrast")}
      options={options}
      value={contrastClass}
      onChange={(selected) => onChange({ contrastClass: selected })}
    />
  );
}
