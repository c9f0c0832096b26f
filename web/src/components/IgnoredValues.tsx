import type { Signal } from "@preact/signals";
import type { IgnoredValue } from "../hooks/useView";
import { t } from "../text";
import type { Texts } from "../text/english";

/** By parameter of the address: the label of its control, and of its slot. */
const LABELS: Record<string, [label: keyof Texts, name?: string]> = {
  a: ["options.method", "A"],
  b: ["options.method", "B"],
  layer_a: ["options.layer", "A"],
  layer_b: ["options.layer", "B"],
  show: ["options.visible"],
  rows: ["options.rows"],
  image: ["preview.input"],
  scale: ["options.scale"],
  style: ["options.style"],
  colors: ["options.colormap"],
  opacity: ["options.opacity"],
  epoch: ["scrubber.epoch"],
  cell: ["options.zoom"],
  step: ["options.zoom"],
  status: ["start.status"],
};

/** Which values of a link are unknown, so that the page shows the defaults. */
export function IgnoredValues({ values }: { values: Signal<IgnoredValue[]> }) {
  if (!values.value.length) return null;
  const list = values.value.map(({ parameter, value }) => `${labelOf(parameter)}: “${value}”`).join(", ");
  return (
    <p class="notice ignored" role="status">
      <span>{t("link.ignored", { values: list })}</span>
      <button type="button" onClick={() => (values.value = [])}>
        {t("close")}
      </button>
    </p>
  );
}

function labelOf(parameter: string): string {
  const [label, name] = LABELS[parameter]!;
  return t(label, { name: name ?? "" });
}
