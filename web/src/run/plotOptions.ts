import type uPlot from "uplot";
import { isDark } from "../theme";
import { type Chart, formatTicks, formatValue } from "./charts";
import { shareRange } from "./shareAxis";

export const PLOT_HEIGHT = 170; // CSS pixels
const X_AXIS_SIZE = 30;
const Y_AXIS_SIZE = 54;
const WHOLE_STEPS = [1, 10, 100, 1000].flatMap((power) => [power, 2 * power, 5 * power]); // there is no epoch 0.5
const LINE_WIDTH = 1.6;
const DASH = [5, 4];
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

export function plotData(chart: Chart, x: number[]): uPlot.AlignedData {
  return [x, ...chart.curves.map((curve) => x.map((_, i) => curve.values[i] ?? null))];
}

/** uPlot's options for a chart; `hooks` are added to them. */
export function plotOptions(
  chart: Chart,
  xLabel: string,
  { isDark: dark, width, textColor, lineColor, font }: PlotTheme,
  hooks: uPlot.Hooks.Arrays,
): uPlot.Options {
  const palette = dark ? PALETTE.dark : PALETTE.light;
  const grid = { stroke: lineColor, width: 1 };
  const axis = { stroke: textColor, grid, ticks: grid, font };
  const series = chart.curves.map(
    (curve): uPlot.Series => ({
      label: curve.label,
      stroke: palette[curve.color % palette.length]!,
      width: LINE_WIDTH,
      points: { show: curve.values.length <= MAX_VALUES_WITH_POINTS },
      ...(curve.isDashed ? { dash: DASH } : {}),
      value: (_, value) => formatValue(chart.unit, value),
    }),
  );
  return {
    width,
    height: PLOT_HEIGHT,
    cursor: { sync: { key: "epochs" }, y: false, drag: { x: false, y: false } },
    legend: { live: true },
    scales: {
      x: { time: false, range: (_, first, last) => (first === last ? [first - 0.5, last + 0.5] : [first, last]) },
      y: chart.unit === "share" ? { range: ({ data }) => shareRange(data.slice(1), chart.clipsStart === true) } : {},
    },
    axes: [
      { ...axis, size: X_AXIS_SIZE, incrs: WHOLE_STEPS, values: (_, ticks) => ticks.map(String) },
      {
        ...axis,
        size: Y_AXIS_SIZE,
        values: (_, ticks, _axis, _space, distance) => formatTicks(chart.unit, ticks, distance),
      },
    ],
    series: [{ label: xLabel, value: (_, value) => String(value ?? "–") }, ...series],
    hooks,
  };
}
