import type uPlot from "uplot";
import { STRONGEST_PEAK, WEAKEST_PEAK } from "../maps/strength";
import { isDark } from "../theme";
import type { Chart, Curve } from "./charts";
import { describeValue, formatTicks } from "./chartValues";
import { shareRange } from "./shareAxis";

export const PLOT_HEIGHT = 170; // CSS pixels
const X_AXIS_SIZE = 30;
const Y_AXIS_SIZE = 54;
const WHOLE_STEPS = [1, 10, 100, 1000].flatMap((power) => [power, 2 * power, 5 * power]); // there is no epoch 0.5
const LINE_WIDTH = 1.6;
const DASH = [5, 4];
const MAX_DECADES = 6; // labeled ones of a logarithmic axis, and the first
const MAX_VALUES_WITH_POINTS = 2; // fewer values make no visible line

/** The first four colors are also those of reports and animations (`service/core/render/palette.py`). */
export const PALETTE = {
  light: ["#1f6fb4", "#c4500a", "#1b7f5b", "#a33a86", "#8a6d00", "#5457c9", "#b3303a", "#3f7d8c", "#6e5a4b", "#4d4d4d"],
  dark: ["#6cb6ff", "#ff9e5c", "#5fd3a5", "#f08bd3", "#e5c454", "#a5a8ff", "#ff8a90", "#7fd0e0", "#cbb39f", "#c4c4c4"],
};

/** The colors, font and width of a plot. */
export interface PlotTheme {
  isDark: boolean;
  width: number; // CSS pixels; all columns of the grid are equally wide
  textColor: string;
  lineColor: string;
  font: string;
}

export function readTheme(element: HTMLElement): PlotTheme {
  const style = getComputedStyle(element);
  return {
    isDark: isDark.peek(),
    width: element.clientWidth,
    textColor: style.getPropertyValue("--muted"),
    lineColor: style.getPropertyValue("--line"),
    font: `${style.fontSize} ${style.fontFamily}`,
  };
}

function valueScale({ unit, clipsStart = false }: Chart): uPlot.Scale {
  if (unit === "share") return { range: ({ data }) => shareRange(data.slice(1), clipsStart) };
  if (unit === "peak") return { distr: 3, log: 10, range: (_, _low, high) => [WEAKEST_PEAK, peakLimit(high)] };
  if (unit === "magnitude") return { distr: 3, log: 10, range: (_, low, high) => decadeRange(low, high) };
  return {};
}

/** The power of ten that ends the axis of peaks: that of a full strength bar, or more for larger peaks. */
export const peakLimit = (max: number | null): number =>
  Math.max(STRONGEST_PEAK, 10 ** Math.ceil(Math.log10(max || STRONGEST_PEAK)));

/** The powers of ten around positive values: at least one decade. */
export function decadeRange(low: number | null, high: number | null): [number, number] {
  const first = 10 ** Math.floor(Math.log10(low || 1));
  const last = 10 ** Math.ceil(Math.log10(high || 1));
  return [first, Math.max(last, first * 10)];
}

/** Powers of ten on a logarithmic axis: every other one, fewer if there are many. */
function decades(_u: uPlot, _axis: number, min: number, max: number): number[] {
  const [first, last] = [Math.round(Math.log10(min)), Math.log10(max) + 0.5];
  const step = Math.max(2, Math.ceil((last - first) / MAX_DECADES));
  const ticks: number[] = [];
  for (let exponent = first; exponent <= last; exponent += step) ticks.push(Number(`1e${exponent}`));
  return ticks;
}

/** Indices of values between two gaps, which are points since they make no line; null if there are none. */
export function isolatedIndices(values: Curve["values"]): number[] | null {
  const isGap = (index: number) => (values[index] ?? null) === null;
  const indices = [...values.keys()].filter((i) => !isGap(i) && isGap(i - 1) && isGap(i + 1));
  return indices.length ? indices : null;
}

const MARK_HEIGHT = 6; // CSS pixels
const MARK_WIDTH = 1.5;
const MARK_GAP = 2;

/** Marks the blank maps of each curve on a line of its own at the bottom of the plot. */
export function drawBlankMarks(u: uPlot, chart: Chart): void {
  const ratio = devicePixelRatio || 1;
  const palette = isDark.peek() ? PALETTE.dark : PALETTE.light;
  const { ctx, bbox } = u;
  chart.curves.forEach(({ blanks, color }, line) => {
    const top = bbox.top + bbox.height - (line + 1) * (MARK_HEIGHT + MARK_GAP) * ratio;
    ctx.fillStyle = palette[color % palette.length]!;
    u.data[0].forEach((x, i) => {
      if (!blanks?.[i]) return;
      const left = u.valToPos(x, "x", true) - (MARK_WIDTH * ratio) / 2;
      ctx.fillRect(left, top, MARK_WIDTH * ratio, MARK_HEIGHT * ratio);
    });
  });
}

export function plotData(chart: Chart, x: number[]): uPlot.AlignedData {
  return [x, ...chart.curves.map((curve) => x.map((_, i) => curve.values[i]))];
}

/**
 * uPlot's options for a chart. `drawn` returns it with the values that are drawn, and `hooks` are added to them. Charts
 * with one `xLabel` share the position of the pointer.
 */
export function plotOptions(
  drawn: () => Chart,
  xLabel: string,
  { isDark: dark, width, textColor, lineColor, font }: PlotTheme,
  hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const chart = drawn();
  const palette = dark ? PALETTE.dark : PALETTE.light;
  const grid = { stroke: lineColor, width: 1 };
  const axis = { stroke: textColor, grid, ticks: grid, font };
  const series = chart.curves.map(
    (curve, i): uPlot.Series => ({
      label: curve.label,
      stroke: palette[curve.color % palette.length]!,
      width: LINE_WIDTH,
      points: {
        show: curve.values.length <= MAX_VALUES_WITH_POINTS,
        filter: () => isolatedIndices(drawn().curves[i]!.values),
      },
      ...(curve.isDashed ? { dash: DASH } : {}),
      value: (_u, _value, _series, x) => (x === null ? "–" : describeValue(drawn(), drawn().curves[i]!, x)),
    }),
  );
  return {
    width,
    height: PLOT_HEIGHT,
    cursor: { sync: { key: xLabel }, y: false, drag: { x: false, y: false } },
    legend: { live: true },
    scales: {
      x: { time: false, range: (_, first, last) => (first === last ? [first - 0.5, last + 0.5] : [first, last]) },
      y: valueScale(chart),
    },
    axes: [
      { ...axis, size: X_AXIS_SIZE, incrs: WHOLE_STEPS, values: (_, ticks) => ticks.map(String) },
      {
        ...axis,
        size: Y_AXIS_SIZE,
        values: (_, ticks, _axis, _space, distance) => formatTicks(chart.unit, ticks, distance),
        ...(chart.unit === "peak" || chart.unit === "magnitude"
          ? { splits: decades, filter: (_, ticks) => ticks }
          : {}),
      },
    ],
    series: [{ label: xLabel, value: (_, value) => String(value ?? "–") }, ...series],
    hooks,
  };
}
