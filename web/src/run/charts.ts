// The curves over the epochs of a run: loss, accuracy, blank maps, accuracy by class, learning rate.

import { type ReadonlySignal, useComputed } from "@preact/signals";
import type { Epoch } from "../api/types";
import { t } from "../text";
import type { BlankShares } from "./useBlankShares";

// Indices of the palette, the same as in reports and animations.
const TEST_COLOR = 0;
const TRAINING_COLOR = 1;

export interface Curve {
  label: string;
  values: (number | null)[]; // by x
  color: number; // index of the palette
  isDashed?: boolean;
}

export interface Chart {
  title: string;
  unit: "share" | "nats" | "rate";
  curves: Curve[];
}

/** The charts of a run, in order. Each changes only with the values that it shows. */
export function useRunCharts(
  epochs: ReadonlySignal<Epoch[]>,
  classNames: ReadonlySignal<string[]>,
  blankShares: ReadonlySignal<BlankShares>,
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
  const accuracy = useComputed<Chart>(() => ({
    title: t("curves.accuracy"),
    unit: "share",
    curves: testAndTraining(
      (epoch) => epoch.test_accuracy,
      (epoch) => epoch.train_accuracy,
    ),
  }));
  const blank = useComputed<Chart>(() => ({
    title: t("curves.blank"),
    unit: "share",
    curves: Object.entries(blankShares.value).map(([label, values], color) => ({ label, values, color })),
  }));
  const byClass = useComputed<Chart>(() => ({
    title: t("curves.byClass"),
    unit: "share",
    curves: classNames.value.map((label, index) => ({
      label,
      values: column((epoch) => epoch.per_class_accuracy[index] ?? null),
      color: index,
    })),
  }));
  const rate = useComputed<Chart>(() => ({
    title: t("curves.rate"),
    unit: "rate",
    curves: [{ label: t("curves.rate"), values: column((epoch) => epoch.learning_rate), color: 3 }],
  }));
  return [loss, accuracy, blank, byClass, rate];
}

/** A value in the chart's unit; `isShort` for the ticks of an axis. */
export function formatValue(unit: Chart["unit"], value: number | null | undefined, isShort = false): string {
  if (value === null || value === undefined) return "–";
  if (unit === "share") return `${(value * 100).toFixed(isShort ? 0 : 1)}%`;
  return String(Number(value.toPrecision(isShort ? 2 : 3)));
}
