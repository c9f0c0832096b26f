// The curves over the epochs of a run: loss, accuracy, peaks, blank maps, accuracy by class, learning rate.

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { BlankCause, Epoch } from "../api/types";
import { specTitle } from "../maps/methodTitles";
import { t } from "../text";
import { type ChartUnit, formatValue } from "./chartValues";
import type { BlankShares } from "./useBlankShares";

// Indices of the palette, the same as in reports and animations.
const TEST_COLOR = 0;
const TRAINING_COLOR = 1;

export interface Curve {
  label: string;
  values: (number | null | undefined)[]; // by x; the curve has a gap at null, and passes over undefined
  blanks?: (BlankCause | null)[]; // by x: why the map is blank, which is marked below the curve
  color: number; // index of the palette
  isDashed?: boolean;
}

export interface Chart {
  title: string;
  unit: ChartUnit;
  curves: Curve[];
  clipsStart?: boolean; // the first, low values may lie below the axis
  note?: string; // how to read the curves
  constant?: string; // the value of a curve that never changes, stated in place of the curve
}

const MAX_CLASS_CURVES = 10;

/** Indices of the classes with a curve, in order: of many, those with the lowest accuracy in the latest epoch. */
export function lowestClasses(accuracies: readonly number[], count: number): number[] {
  const indices = Array.from({ length: count }, (_, index) => index);
  if (count <= MAX_CLASS_CURVES) return indices;
  const lowest = indices.sort((a, b) => (accuracies[a] ?? 1) - (accuracies[b] ?? 1)).slice(0, MAX_CLASS_CURVES);
  return lowest.sort((a, b) => a - b);
}

/** The charts of a run, in order. Each changes only with the values that it shows. */
export function useRunCharts(
  epochs: ReadonlySignal<Epoch[]>,
  classNames: ReadonlySignal<string[]>,
  peaks: ReadonlySignal<Chart>,
  blankShares: ReadonlySignal<BlankShares>,
  dropout: () => number, // share of the hidden units, 0 to 1
): ReadonlySignal<Chart>[] {
  const column = (value: (epoch: Epoch) => number | null) => epochs.value.map(value);
  const testAndTraining = (test: (epoch: Epoch) => number, training: (epoch: Epoch) => number | null): Curve[] => [
    { label: t("curves.test"), values: column(test), color: TEST_COLOR },
    { label: t("curves.train"), values: column(training), color: TRAINING_COLOR, isDashed: true },
  ];
  const loss = useComputed<Chart>(() => ({
    title: t("curves.loss"),
    unit: "nats",
    curves: testAndTraining(
      (epoch) => epoch.test_loss,
      (epoch) => epoch.train_loss,
    ),
  }));
  const accuracy = useComputed<Chart>(() => {
    const isBelowTest = ({ train_accuracy, test_accuracy }: Epoch) =>
      train_accuracy !== null && train_accuracy < test_accuracy;
    return {
      title: t("curves.accuracy"),
      unit: "share",
      clipsStart: true,
      curves: testAndTraining(
        (epoch) => epoch.test_accuracy,
        (epoch) => epoch.train_accuracy,
      ),
      ...(epochs.value.some(isBelowTest) ? { note: t(dropout() > 0 ? "curves.dropout" : "curves.whileTraining") } : {}),
    };
  });
  const blank = useComputed<Chart>(() => ({
    title: t("curves.blank"),
    note: t("curves.blank.note"),
    unit: "share",
    curves: Object.entries(blankShares.value).map(([method, values], color) => ({
      label: specTitle(method),
      values,
      color,
    })),
  }));
  const byClass = useComputed<Chart>(() => ({
    title: t("curves.byClass"),
    unit: "share",
    clipsStart: true,
    curves: lowestClasses(epochs.value.at(-1)?.per_class_accuracy ?? [], classNames.value.length).map(
      (index, color) => ({
        label: classNames.value[index]!,
        values: column((epoch) => epoch.per_class_accuracy[index] ?? null),
        color,
      }),
    ),
    ...(classNames.value.length > MAX_CLASS_CURVES
      ? { note: t("curves.byClass.note", { count: MAX_CLASS_CURVES, total: classNames.value.length }) }
      : {}),
  }));
  const rate = useComputed<Chart>(() => {
    const values = column((epoch) => epoch.learning_rate);
    const isConstant = values.every((value) => value === values[0]);
    return {
      title: t("curves.rate"),
      unit: "rate",
      curves: [{ label: t("curves.rate"), values, color: 3 }],
      ...(isConstant ? { constant: formatValue("rate", values[0]) } : {}),
    };
  });
  return [loss, accuracy, peaks, blank, byClass, rate];
}
