// How the maps are computed and drawn: methods, rows, style, scale, colormap, zoom.

import type { Signal } from "@preact/signals";
import type { Method } from "../api/types";
import { Failure } from "../components/Failure";
import { catalogue, isRecorded, loadCatalogue } from "../hooks/useCatalogue";
import { DRAW_STYLES, SCALES, type View, type VisibleMethods } from "../hooks/useView";
import { colormaps } from "../maps/colors";
import type { ZoomDirection } from "../maps/layout";
import { formatMethodSpec, parseMethodSpec } from "../maps/methodSpec";
import { percent, t, tIfKnown } from "../text";

interface Props {
  view: View;
  onZoom: (direction: ZoomDirection) => void;
  isPair: boolean; // two methods side by side, or one
}

export function Options({ view, onZoom, isPair }: Props) {
  const failure = catalogue.failure.value;
  return (
    <div class="options">
      {failure && <Failure error={failure} retry={loadCatalogue} />}
      <MethodChoice name={isPair ? "A" : ""} value={view.methodA} />
      {isPair && <PairOptions view={view} />}
      <Choice
        label={t("options.style")}
        value={view.style}
        choices={DRAW_STYLES.map((style) => [style, t(`style.${style}`)])}
      />
      <Choice
        label={t("options.scale")}
        value={view.scale}
        title={t(`scale.${view.scale.value}.help`)}
        choices={SCALES.map((scale) => [scale, t(`scale.${scale}`)])}
      />
      <ColormapChoice view={view} />
      <OpacityChoice opacity={view.opacity} />
      <div class="zoom" role="group" aria-label={t("options.zoom")}>
        <button type="button" onClick={() => onZoom(-1)} aria-label={t("options.zoom.out")}>
          −
        </button>
        <button type="button" onClick={() => onZoom(0)}>
          {t("options.zoom.fit")}
        </button>
        <button type="button" onClick={() => onZoom(1)} aria-label={t("options.zoom.in")}>
          +
        </button>
      </div>
    </div>
  );
}

function PairOptions({ view }: { view: View }) {
  const methods: [VisibleMethods, string][] = [
    ["both", t("options.both")],
    ["a", "A"],
    ["b", "B"],
  ];
  return (
    <>
      <MethodChoice name="B" value={view.methodB} />
      <Choice label={t("options.visible")} value={view.visibleMethods} choices={methods} />
      <Choice
        label={t("options.rows")}
        value={view.rows}
        choices={[
          ["probes", t("options.rows.probes")],
          ["classes", t("options.rows.classes")],
        ]}
      />
    </>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: Signal<T>;
  choices: readonly (readonly [T, string])[];
  title?: string;
}

function Choice<T extends string>({ label, value, choices, title }: ChoiceProps<T>) {
  return (
    <label title={title}>
      <span>{label}</span>
      <select value={value.value} onChange={(event) => (value.value = event.currentTarget.value as T)}>
        {choices.map(([name, text]) => (
          <option key={name} value={name}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

const COLORBLIND_SAFE = ["viridis", "cividis", "plasma", "inferno", "magma"];

function ColormapChoice({ view }: { view: View }) {
  const sequential = colormaps.value.filter((colormap) => colormap.kind === "sequential");
  const isSafe = (name: string) => COLORBLIND_SAFE.includes(name);
  const options = (safe: boolean) =>
    sequential
      .filter(({ name }) => isSafe(name) === safe)
      .map(({ name, description }) => (
        <option key={name} value={name} title={description}>
          {name}
        </option>
      ));
  return (
    <label>
      <span>{t("options.colormap")}</span>
      <select
        value={view.colormap.value}
        disabled={view.style.value === "signed"}
        onChange={(event) => (view.colormap.value = event.currentTarget.value)}
      >
        <optgroup label={t("options.colormap.safe")}>{options(true)}</optgroup>
        <optgroup label={t("options.colormap.other")}>{options(false)}</optgroup>
      </select>
    </label>
  );
}

function OpacityChoice({ opacity }: { opacity: Signal<number> }) {
  return (
    <label title={t("options.opacity.help")}>
      <span>
        {t("options.opacity")} {percent(opacity.value, 0)}
      </span>
      <input
        type="range"
        class="opacity"
        min={0}
        max={1}
        step={0.05}
        value={opacity.value}
        aria-label={t("options.opacity")}
        aria-valuetext={percent(opacity.value, 0)}
        onInput={(event) => (opacity.value = event.currentTarget.valueAsNumber)}
      />
    </label>
  );
}

interface MethodProps {
  name: string;
  value: Signal<string>;
}

/** The page's own title of a method of the paper, else the catalogue's. */
const methodTitle = (name: string, title: string): string => tIfKnown(`method.${name}`) ?? title;

/** A choice of a method and of the target that its maps explain, in the notation `layer-cam/margin`. */
function MethodChoice({ name, value }: MethodProps) {
  const { method: base, target } = parseMethodSpec(value.value);
  const methods = catalogue.methods.value;
  const method = methods.find((candidate) => candidate.name === base);
  return (
    <div class="method-choice">
      <label>
        <span>{t("options.method", { name }).trim()}</span>
        <select
          value={base}
          onChange={(event) => (value.value = event.currentTarget.value)}
          title={method?.description}
        >
          {!method && <option value={base}>{methodTitle(base, base)}</option>}
          <MethodGroup label={t("options.method.paper")} methods={methods.filter((m) => m.recorded)} />
          <MethodGroup label={t("options.method.recommended")} methods={methods.filter((m) => m.recommended)} />
          <MethodGroup label={t("options.method.all")} methods={methods.filter((m) => !m.recommended && !m.recorded)} />
        </select>
      </label>
      {method && !isRecorded(base) && <TargetChoice value={value} method={method} target={target} />}
    </div>
  );
}

function MethodGroup({ label, methods }: { label: string; methods: Method[] }) {
  return (
    <optgroup label={label}>
      {methods.map(({ name, title, description, source, year }) => (
        <option key={name} value={name} title={`${description} ${source}, ${year}`}>
          {methodTitle(name, title)}
        </option>
      ))}
    </optgroup>
  );
}

interface TargetProps {
  value: Signal<string>;
  method: Method;
  target: string | undefined; // undefined: the method's default
}

function TargetChoice({ value, method, target }: TargetProps) {
  const targets = method.targets.filter((name) => name !== "contrast"); // which needs a second class
  if (targets.length < 2) return null;
  const description = (name: string) => catalogue.targets.value.find((entry) => entry.name === name)?.description;
  const select = (name: string) => {
    const target = targets[0] === name ? undefined : name;
    value.value = formatMethodSpec({ ...parseMethodSpec(value.value), target });
  };
  return (
    <label>
      <span>{t("options.target")}</span>
      <select value={target ?? targets[0]} onChange={(event) => select(event.currentTarget.value)}>
        {targets.map((name) => (
          <option key={name} value={name} title={description(name)}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
