// The values of charts as texts.

import { significant, t } from "../text";
import type { Chart, Curve } from "./charts";

export type ChartUnit = "share" | "nats" | "rate" | "peak" | "magnitude"; // peaks and magnitudes have a logarithmic axis

/** A value in the chart's unit. */
export function formatValue(unit: ChartUnit, value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (unit === "peak" || unit === "magnitude") return significant(value);
  if (unit === "share") return `${(value * 100).toFixed(1)}%`;
  return String(Number(value.toPrecision(3)));
}

/** The ticks of a value axis, as precise as their distance requires. */
export function formatTicks(unit: ChartUnit, ticks: number[], distance: number): string[] {
  if (unit === "peak" || unit === "magnitude") {
    return ticks.map((tick) => (tick < 1e-3 || tick >= 1e4 ? tick.toExponential().replace("e+", "e") : String(tick)));
  }
  if (unit !== "share") return ticks.map((tick) => String(Number(tick.toPrecision(2))));
  const digits = distance * 100 < 0.999 ? 1 : 0;
  return ticks.map((tick) => `${(tick * 100).toFixed(digits)}%`);
}

/** A share without decimals that it does not need: 84%, 97.5%. */
export const formatShare = (share: number): string => `${Number((share * 100).toFixed(1))}%`;

/** A curve's value at an index, or why its map is blank there. */
export function describeValue(chart: Chart, { values, blanks }: Curve, index: number): string {
  const cause = blanks?.[index];
  return cause ? t(`blank.${cause}`) : formatValue(chart.unit, values[index]);
}
