// How the maps are computed and drawn: methods, rows, style, scale, colormap, zoom.

import type { Signal } from "@preact/signals";
import { Failure } from "../components/Failure";
import { catalogue, loadCatalogue } from "../hooks/useCatalogue";
import { DRAW_STYLES, SCALES, type View, type VisibleMethods } from "../hooks/useView";
import { colormaps } from "../maps/colors";
import type { LayerMenu } from "../maps/layers";
import type { ZoomDirection } from "../maps/layout";
import { percent, t } from "../text";
import { LayerChoice } from "./LayerChoice";
import { MethodChoice } from "./MethodChoice";
import { MethodDetails } from "./MethodDetails";

interface Props {
  view: View;
  classNames: readonly string[];
  layerMenu: LayerMenu;
  onZoom: (direction: ZoomDirection) => void;
  isPair: boolean; // two methods side by side, or one
  hasRows?: boolean; // the rows of the reel can be chosen; by default those of a pair
}

/** The method and the layer of a side. */
interface Side {
  name: string; // "A" or "B", or empty
  method: Signal<string>;
  layer: Signal<string | null>;
}

export function Options({ view, classNames, layerMenu, onZoom, isPair, hasRows = isPair }: Props) {
  const failure = catalogue.failure.value;
  const { methodA, methodB, layerA, layerB } = view;
  const sides: Side[] = isPair
    ? [
        { name: "A", method: methodA, layer: layerA },
        { name: "B", method: methodB, layer: layerB },
      ]
    : [{ name: "", method: methodA, layer: layerA }];
  return (
    <>
      <div class="options">
        {failure && <Failure error={failure} retry={loadCatalogue} />}
        {sides.map(({ name, method, layer }) => (
          <div key={name} class="method-choice">
            <MethodChoice name={name} value={method} classNames={classNames} />
            <LayerChoice name={name} method={method} layer={layer} menu={layerMenu} />
          </div>
        ))}
        {hasRows && <PairOptions view={view} />}
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
      <MethodDetails methods={sides.map(({ name, method }) => [name, method])} />
    </>
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
  const isSigned = view.style.value === "signed";
  return (
    <label>
      <span>{isSigned ? t("options.colormap.signed") : t("options.colormap")}</span>
      <select
        aria-label={t("options.colormap")}
        aria-description={isSigned ? t("options.colormap.signed") : undefined}
        value={view.colormap.value}
        disabled={isSigned}
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
