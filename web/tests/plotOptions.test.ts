import { expect, test } from "vitest";
import type { Chart } from "../src/run/charts";
import { describeValue } from "../src/run/chartValues";
import { decadeRange, isolatedIndices, peakLimit, plotData, plotOptions } from "../src/run/plotOptions";

const peaks: Chart = {
  title: "Peak",
  unit: "peak",
  curves: [
    {
      label: "conventional",
      color: 0,
      values: [0.002, null, 0.0004, null, undefined],
      blanks: [null, "saturated", null, "dead", null],
    },
  ],
};

test("the axis of peaks has the range of strength bars, and more decades for larger peaks", () => {
  expect([null, 1e-6, 9.9, 10, 10.1, 4000].map(peakLimit)).toEqual([10, 10, 10, 10, 100, 10_000]);
});

test("a curve has a gap at a blank map, and passes over maps that are not loaded", () => {
  expect(plotData(peaks, [0, 1, 2, 3, 4])[1]).toEqual([0.002, null, 0.0004, null, undefined]);
});

test("the value of a blank map is its cause", () => {
  const [curve] = peaks.curves;
  const texts = [0, 1, 2, 3, 4].map((index) => describeValue(peaks, curve!, index));
  expect(texts).toEqual(["0.002", "blank: saturated", "4.00e-4", "blank: dead", "–"]);
});

test("values between gaps are drawn as points", () => {
  expect(isolatedIndices([1, null, 2, null, 3, 4])).toEqual([0, 2]);
  expect(isolatedIndices([1, 2, null, 3, 4])).toBeNull();
});

test("a legend describes the values that are drawn, not those at the plot's creation", () => {
  let drawn = peaks;
  const theme = { isDark: false, width: 300, textColor: "", lineColor: "", font: "" };
  const { series } = plotOptions(() => drawn, "Epoch", theme, {});
  const describe = series[1]!.value as (...args: unknown[]) => string;
  expect(describe(null, null, 1, 1)).toBe("blank: saturated");
  drawn = { ...peaks, curves: [{ ...peaks.curves[0]!, values: [1, 2], blanks: [null, null] }] };
  expect(describe(null, null, 1, 1)).toBe("2");
});

test("The axis of magnitudes covers whole decades", () => {
  expect(decadeRange(0.02, 350)).toEqual([0.01, 1000]);
  expect(decadeRange(5, 5)).toEqual([1, 10]);
  expect(decadeRange(null, null)).toEqual([1, 10]);
});
