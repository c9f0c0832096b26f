// How the maps are made and drawn: methods, rows, scale, style, colours, zoom.

import { useSignal } from "@preact/signals";
import { colormaps, methods, targets } from "../api/catalogue";
import type { Colormap, Method, Target } from "../api/types";
import { quiet } from "../api/waiting";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { t } from "../text";
import { SCALES, STYLES, type Shown, type View } from "./view";

interface Props {
  view: View;
  onZoom: (direction: 1 | -1 | 0) => void;
  pair: boolean; // two methods side by side, or one
}

/** Asked for after what is to be seen first. */
async function offered(): Promise<[Method[], Target[], Colormap[]]> {
  await quiet();
  return Promise.all([methods(), targets(), colormaps()]);
}

const SAFE = ["viridis", "cividis", "plasma", "inferno", "magma"]; // for the colour-blind

export function Options({ view, onZoom, pair }: Props) {
  const known = useSignal<{ methods: Method[]; targets: Target[]; colormaps: Colormap[] }>({ methods: [], targets: [], colormaps: [] });
  useSignalLayoutEffect(() => {
    void offered().then(([m, g, c]) => (known.value = { methods: m, targets: g, colormaps: c }));
  });
  const shown: [Shown, string][] = [["both", t("options.both")], ["a", "A"], ["b", "B"]];
  return (
    <div class="options">
      <MethodChoice name="A" value={view.methodA} known={known.value} />
      {pair && <MethodChoice name="B" value={view.methodB} known={known.value} />}
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
        <span>{t("options.colours")}</span>
        <select value={view.colormap.value} disabled={view.style.value === "signed"} onChange={(event) => (view.colormap.value = event.currentTarget.value)}>
          <optgroup label={t("options.colours.safe")}>
            {known.value.colormaps.filter((c) => SAFE.includes(c.name)).map((c) => <option value={c.name} title={c.description}>{c.name}</option>)}
          </optgroup>
          <optgroup label={t("options.colours.other")}>
            {known.value.colormaps.filter((c) => c.kind === "sequential" && !SAFE.includes(c.name))
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
  known: { methods: Method[]; targets: Target[] };
}

const OF_PAPER = { conventional: "method.conventional", proposed: "method.proposed" } as const;

const isOfPaper = (name: string): name is keyof typeof OF_PAPER => name in OF_PAPER;

const titleOf = ({ name, title }: Method): string => (isOfPaper(name) ? t(OF_PAPER[name]) : title);

/** A method, and the score that it explains: `layer-cam/centred`. */
function MethodChoice({ name, value, known }: MethodProps) {
  const [base, target] = value.value.split(/[/?]/) as [string, string | undefined];
  const method = known.methods.find((one) => one.name === base);
  const offered = method?.targets.filter((one) => one !== "contrast") ?? [];
  const choose = (to: string) => (value.value = offered[0] === to ? base : `${base}/${to}`);
  const option = (one: Method) => <option value={one.name} title={`${one.description} ${one.source}, ${one.year}`}>{titleOf(one)}</option>;
  return (
    <div class="method-choice">
      <label>
        <span>{t("options.method", { name })}</span>
        <select value={base} onChange={(event) => (value.value = event.currentTarget.value)} title={method?.description}>
          {!method && <option value={base}>{isOfPaper(base) ? t(OF_PAPER[base]) : base}</option>}
          <optgroup label={t("options.method.paper")}>{known.methods.filter((one) => isOfPaper(one.name)).map(option)}</optgroup>
          <optgroup label={t("options.method.recommended")}>{known.methods.filter((one) => one.recommended).map(option)}</optgroup>
          <optgroup label={t("options.method.all")}>
            {known.methods.filter((one) => !one.recommended && !isOfPaper(one.name)).map(option)}
          </optgroup>
        </select>
      </label>
      {offered.length > 1 && !isOfPaper(base) && (
        <label>
          <span>{t("options.target")}</span>
          <select value={target ?? offered[0]} onChange={(event) => choose(event.currentTarget.value)}>
            {offered.map((one) => <option value={one} title={known.targets.find((g) => g.name === one)?.description}>{one}</option>)}
          </select>
        </label>
      )}
    </div>
  );
}
