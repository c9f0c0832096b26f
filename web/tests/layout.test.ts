import { describe, expect, test } from "vitest";
import {
  columnOf,
  finerStep,
  fitLayout,
  GROUP_GAP,
  HEADER_HEIGHT,
  type Layout,
  labeledLines,
  lineHeight,
  lineTops,
  maxStep,
  niceStep,
  reelHeight,
  sampleEpochs,
  zoomLayout,
} from "../src/maps/layout";

const UNLIMITED = Infinity;

describe("steps", () => {
  test("niceStep is the next of 1, 2, 5, 10, ...", () => {
    expect([0.5, 1, 1.1, 3, 6, 11, 51].map(niceStep)).toEqual([1, 1, 2, 5, 10, 20, 100]);
  });

  test("finerStep is the one before", () => {
    expect([1, 2, 5, 10, 20, 7].map(finerStep)).toEqual([1, 1, 2, 5, 10, 5]);
  });
});

describe("sampleEpochs", () => {
  test("has every step-th epoch, and the last", () => {
    expect(sampleEpochs(12, 5)).toEqual([0, 5, 10, 12]);
    expect(sampleEpochs(10, 5)).toEqual([0, 5, 10]);
    expect(sampleEpochs(2, 1)).toEqual([0, 1, 2]);
  });

  test("is empty before the first epoch", () => {
    expect(sampleEpochs(-1, 1)).toEqual([]);
    expect(sampleEpochs(-1, 5)).toEqual([]);
  });
});

describe("columnOf", () => {
  test("is the epoch's own column", () => {
    expect([0, 5, 10, 12].map((epoch) => columnOf([0, 5, 10, 12], epoch))).toEqual([0, 1, 2, 3]);
    expect(columnOf([0, 1], 1)).toBe(1);
    expect(columnOf([0], 0)).toBe(0);
    expect(columnOf([], 3)).toBe(-1);
  });

  test("is else the nearest column between the first and the last", () => {
    expect([1, 4, 7, 8, 11].map((epoch) => columnOf([0, 5, 10, 12], epoch))).toEqual([1, 1, 1, 2, 2]);
    expect([1, 8].map((epoch) => columnOf([0, 6, 12], epoch))).toEqual([1, 1]);
  });

  test("keeps the order of the epochs, whatever the step", () => {
    for (const [last, step] of [
      [3, 2],
      [12, 1000],
      [100, 20],
    ] as const) {
      const epochs = sampleEpochs(last, Math.min(step, maxStep(last)));
      for (let epoch = 0; epoch <= last; epoch++) {
        const shown = epochs.with(columnOf(epochs, epoch), epoch);
        expect(shown).toEqual(shown.toSorted((a, b) => a - b));
        expect([shown[0], shown.at(-1)]).toEqual([0, last]);
      }
    }
  });
});

describe("lines", () => {
  test("follow each other, with a gap before each group but the first", () => {
    const first = HEADER_HEIGHT;
    const height = lineHeight(10);
    expect(lineTops([true, false, true, false], 10)).toEqual([
      first,
      first + height,
      first + 2 * height + GROUP_GAP,
      first + 3 * height + GROUP_GAP,
    ]);
  });

  test("lie within the reel's height", () => {
    const tops = lineTops([true, false, true, false], 10);
    expect(tops.at(-1)! + lineHeight(10)).toBeLessThanOrEqual(reelHeight(10, 4, 2));
  });
});

describe("fitLayout", () => {
  const TEN_PAIRS = { lines: 20, groups: 10 };

  test("has a column for every epoch if they fit", () => {
    const extent = { epochs: 10, plannedEpochs: 10, ...TEN_PAIRS };
    expect(fitLayout({ width: 480, height: UNLIMITED }, extent)).toEqual({ cell: 48, step: 1 });
  });

  test("leaves epochs out if they do not fit, and never exceeds the width", () => {
    for (const epochs of [21, 101, 451, 10_001]) {
      const { cell, step } = fitLayout({ width: 480, height: UNLIMITED }, { epochs, plannedEpochs: 20, ...TEN_PAIRS });
      expect(step).toBeGreaterThan(1);
      expect(cell * sampleEpochs(epochs - 1, step).length).toBeLessThanOrEqual(480);
    }
  });

  test("leaves no epoch out for one that is only planned, but space", () => {
    const phone = { width: 270, height: UNLIMITED };
    const fitted = (epochs: number) => fitLayout(phone, { epochs, plannedEpochs: 20, ...TEN_PAIRS });
    expect([1, 6, 11].map(fitted)).toEqual(Array(3).fill({ cell: 24, step: 1 }));
    expect(fitted(12)).toEqual({ cell: 24, step: 2 });
    expect(fitLayout({ width: 800, height: UNLIMITED }, { epochs: 3, plannedEpochs: 20, ...TEN_PAIRS }).cell).toBe(40);
  });

  test("lets all lines fit the height unless cells would become too small", () => {
    const extent = { epochs: 13, plannedEpochs: 13, ...TEN_PAIRS };
    const fitted = fitLayout({ width: 1200, height: 700 }, extent);
    expect(reelHeight(fitted.cell, 20, 10)).toBeLessThanOrEqual(700);
    expect(fitLayout({ width: 1200, height: 100 }, extent).cell).toBe(64);
  });
});

describe("zoomLayout", () => {
  const fitted: Layout = { cell: 24, step: 5 };

  test("in shows more epochs first, then larger cells", () => {
    expect(zoomLayout(fitted, fitted, 1)).toEqual({ cell: 24, step: 2 });
    expect(zoomLayout({ cell: 24, step: 1 }, fitted, 1)).toEqual({ cell: 28, step: 1 });
  });

  test("out goes the same way back, to the fitted layout", () => {
    expect(zoomLayout({ cell: 28, step: 1 }, fitted, -1)).toEqual({ cell: 24, step: 1 });
    expect(zoomLayout({ cell: 24, step: 1 }, fitted, -1)).toEqual({ cell: 24, step: 2 });
    expect(zoomLayout(fitted, fitted, -1)).toBeNull();
    expect(zoomLayout({ cell: 96, step: 1 }, fitted, 0)).toBeNull();
  });
});

describe("labeledLines", () => {
  const tops = (count: number) => Array.from({ length: count }, (_, index) => 22 + 28 * index);

  test("are all of a few lines", () => {
    expect(labeledLines(tops(200), 3000, 500)).toEqual([0, 200]);
  });

  test("are of many lines those within a screen of the visible ones", () => {
    // From 3000 - 500 = 2500 to 3000 + 2 * 500 = 4000: line 89 begins at 2514, line 142 at 3998.
    expect(labeledLines(tops(2000), 3000, 500)).toEqual([89, 143]);
    expect(labeledLines(tops(2000), 0, 500)[0]).toBe(0);
    expect(labeledLines(tops(2000), 55_600, 500)[1]).toBe(2000);
  });
});
