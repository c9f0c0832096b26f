import type { Json } from "../api/types";
import { significant, t, tIfKnown } from "../text";
import { fieldLabel } from "../text/fields";
import type { Align, ExperimentSummary, Setting } from "./types";

export const experimentName = ({ id, name }: ExperimentSummary): string => name || t("experiment.unnamed", { id });

/** The measure's name in the page's language; that of the service for one that the page does not know. */
export const measureName = (name: string): string => tIfKnown(`measure.${name}`) ?? name.replaceAll("_", " ");

/** The label of a field that varies: `Learning rate`. */
export const pathLabel = (path: string): string => fieldLabel(path.replace(/\.name$/, ""), {});

/** A value of a field; the range of a group of sampled numbers. */
export function valueText(value: Json): string {
  if (typeof value === "number") return String(Number(value.toPrecision(4)));
  if (Array.isArray(value))
    return value.length === 2 ? value.map(valueText).join(" – ") : value.map(valueText).join(", ");
  if (value !== null && typeof value === "object") return String(value.name ?? JSON.stringify(value));
  return String(value ?? "–");
}

export const settingText = (setting: Setting): string =>
  Object.entries(setting)
    .map(([path, value]) => `${pathLabel(path)} ${valueText(value)}`)
    .join(", ");

export const measureText = (value: number | null): string => {
  if (value === null) return "–";
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1 ? value.toFixed(4) : significant(value);
};

export const columnText = (value: number, align: Align): string =>
  align === "loss" ? significant(value) : Math.round(value).toLocaleString("en");
