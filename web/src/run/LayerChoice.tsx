import type { Signal } from "@preact/signals";
import { SearchableSelect } from "../components/SearchableSelect";
import { takesLayer } from "../hooks/useCatalogue";
import { gridText, type LayerMenu } from "../maps/layers";
import { t } from "../text";

const DEFAULT = ""; // option where runs have different default layers

interface Props {
  name: string; // "A" or "B", or empty
  method: Signal<string>;
  layer: Signal<string | null>; // null: the default
  menu: LayerMenu;
}

/** The choice of the layer whose maps a side shows; disabled for methods that do not take one. */
export function LayerChoice({ name, method, layer, menu: { layers, defaultLayer } }: Props) {
  const isEnabled = takesLayer(method.value);
  const value = layer.value ?? defaultLayer ?? DEFAULT;
  const options = layers.map((entry) => ({
    value: entry.name,
    text: entry.name === defaultLayer ? t("options.layer.isDefault", { name: entry.name }) : entry.name,
    note: gridText(entry),
  }));
  if (defaultLayer === null) options.unshift({ value: DEFAULT, text: t("options.layer.default"), note: "" });
  if (!options.some((option) => option.value === value)) options.push({ value, text: value, note: "" });
  const select = (next: string) => (layer.value = next === defaultLayer || next === DEFAULT ? null : next);
  return (
    <SearchableSelect
      label={t("options.layer", { name }).trim()}
      options={isEnabled ? options : [{ value, text: t("options.layer.none") }]}
      value={value}
      onChange={select}
      disabled={!isEnabled || !layers.length}
      title={isEnabled ? undefined : t("options.layer.none.help")}
    />
  );
}
