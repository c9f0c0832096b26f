// How the maps are made and drawn: methods, rows, scale, style, colours, zoom.

import type { Method } from "../api/types";
import { knownColormaps } from "../maps/colours";
import { t } from "../text";
import { isOfPaper, offered } from "./offered";
import { SCALES, STYLES, type Shown, type View } from "./view";

interface Props {
  view: View;
  onZoom: (direction: 1 | -1 | 0) => void;
  pair: boolean; // two methods side by side, or one
}

const SAFE = ["viridis", "cividis", "plasma", "inferno", "magma"]; // for the colour-blind

export function Options({ view, onZoom, pair }: Props) {
  const colours = knownColormaps.value;
  const shown: [Shown, string][] = [["both", t("options.both")], ["a", "A"], ["b", "B"]];
  return (
    <div class="options">
      <MethodChoice name={pair ? "A" : ""} value={view.methodA} />
      {pair && <MethodChoice name="B" value={view.methodB} />}
      {pair && <Choice label={t("options.shown")} value={view.shown.value} choices={shown} onChange={(v) => (view.shown.value = v)} />}
      {pair && (
        <Choice
          label={t("options.rows")} value={view.rows.value}
          choices={[["probes", t("options.rows.probes")], ["classes", t("options.rows.classes")]]}
          onChange={(v) => (view.rows.value = v)}
        />
      )}
      <Choice label={t("options.style")} value={view.style.value} choices={STYLES.map((s) => [s, t(`style.${s}`)])} onChange={(v) => (view.style.value = v)} />
      <Choice
        label={t("options.scale")} value={view.scale.value} title={t(`scale.${view.scale.value}.help`)}
        choices={SCALES.map((s) => [s, t(`scale.${s}`)])} onChange={(v) => (view.scale.value = v)}
      />
      <label>
        <span>{t("options.colormap")}</span>
        <select value={view.colormap.value} disabled={view.style.value === "signed"} onChange={(event) => (view.colormap.value = event.currentTarget.value)}>
          <optgroup label={t("options.colormap.safe")}>
            {colours.filter((c) => SAFE.includes(c.name)).map((c) => <option value={c.name} title={c.description}>{c.name}</option>)}
          </optgroup>
          <optgroup label={t("options.colormap.other")}>
            {colours.filter((c) => c.kind === "sequential" && !SAFE.includes(c.name))
              .map((c) => <option value={c.name} title={c.description}>{c.name}</option>)}
          </optgroup>
        </select>
      </label>
      <div class="zoom" role="group" aria-label={t("options.zoom")}>
        <button type="button" onClick={() => onZoom(-1)} aria-label={t("options.zoom.out")}>−</button>
        <button type="button" onClick={() => onZoom(0)}>{t("options.zoom.fit")}</button>
        <button type="button" onClick={() => onZoom(1)} aria-label={t("options.zoom.in")}>+</button>
      </div>
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  choices: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
  title?: string;
}

function Choice<T extends string>({ label, value, choices, onChange, title }: ChoiceProps<T>) {
  return (
    <label title={title}>
      <span>{label}</span>
      <select value={value} onChange={(event) => onChange(event.currentTarget.value as T)}>
        {choices.map(([name, text]) => <option value={name}>{text}</option>)}
      </select>
    </label>
  );
}

interface MethodProps {
  name: string;
  value: View["methodA"];
}

const titleOf = (name: string, title: string): string => (isOfPaper(name) ? t(`method.${name}`) : title);

/** A method, and the score that it explains: `layer-cam/centered`. */
function MethodChoice({ name, value }: MethodProps) {
  const [base, target] = value.value.split(/[/?]/) as [string, string | undefined];
  const methods = offered.methods.value;
  const method = methods.find((one) => one.name === base);
  const targets = method?.targets.filter((one) => one !== "contrast") ?? [];
  const choose = (to: string) => (value.value = targets[0] === to ? base : `${base}/${to}`);
  const option = (one: Method) => <option value={one.name} title={`${one.description} ${one.source}, ${one.year}`}>{titleOf(one.name, one.title)}</option>;
  return (
    <div class="method-choice">
      <label>
        <span>{t("options.method", { name }).trim()}</span>
        <select value={base} onChange={(event) => (value.value = event.currentTarget.value)} title={method?.description}>
          {!method && <option value={base}>{titleOf(base, base)}</option>}
          <optgroup label={t("options.method.paper")}>{methods.filter((one) => isOfPaper(one.name)).map(option)}</optgroup>
          <optgroup label={t("options.method.recommended")}>{methods.filter((one) => one.recommended).map(option)}</optgroup>
          <optgroup label={t("options.method.all")}>
            {methods.filter((one) => !one.recommended && !isOfPaper(one.name)).map(option)}
          </optgroup>
        </select>
      </label>
      {targets.length > 1 && !isOfPaper(base) && (
        <label>
          <span>{t("options.target")}</span>
          <select value={target ?? targets[0]} onChange={(event) => choose(event.currentTarget.value)}>
            {targets.map((one) => <option value={one} title={offered.targets.value.find((g) => g.name === one)?.description}>{one}</option>)}
          </select>
        </label>
      )}
    </div>
  );
}
