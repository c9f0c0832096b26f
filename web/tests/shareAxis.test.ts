import { describe, expect, test } from "vitest";
import { formatShare, formatTicks } from "../src/run/chartValues";
import { isBelow, shareRange } from "../src/run/shareAxis";

describe("shareRange", () => {
  const rising = [0.1, 0.7, 0.9, 0.95, 0.96, 0.97, 0.97, 0.98, 0.98, 0.97];

  test.each<[string, (number | null)[][], boolean, [number, number]]>([
    ["leaves out the start of learning", [rising], true, [0.6, 1]],
    ["leaves out one epoch of few", [[0.1, 0.97, 0.98]], true, [0.965, 0.985]],
    ["shows all values of other curves", [[null, 0.2, 0.4]], false, [0.15, 0.45]],
    ["shows a single epoch", [[0.1]], true, [0.09, 0.11]],
    ["stays within 0 to 1", [[0, 0, 0.001]], false, [0, 0.015]],
    ["shows curves that are all at 100 %", [[0.1, 1, 1]], true, [0.99, 1]],
    ["is all of 0 to 1 for wide curves", [[null, 0, 1]], false, [0, 1]],
    ["is all of 0 to 1 without values", [[null, null], []], true, [0, 1]],
    ["ignores values that are not finite", [[Number.NaN, 0.5]], false, [0.49, 0.51]],
  ])("%s", (_, curves, clipsStart, range) => {
    expect(shareRange(curves, clipsStart)).toEqual(range);
  });

  test("the values that it leaves out are below", () => {
    expect(isBelow([[0.1, 0.97]], 0.965)).toBe(true);
    expect(isBelow([[null, 0.97]], 0.965)).toBe(false);
  });
});

test("ticks are as precise as their distance requires", () => {
  expect(formatTicks("share", [0.97, 0.975], 0.005)).toEqual(["97.0%", "97.5%"]);
  expect(formatTicks("share", [0.8, 0.9], 0.1)).toEqual(["80%", "90%"]);
  expect(formatShare(0.975)).toBe("97.5%");
  expect(formatShare(1)).toBe("100%");
});
