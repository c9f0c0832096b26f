// The axis of shares, such as accuracies: fitted to the values, so that 97 % and 98 % can be told apart.

type Values = ArrayLike<number | null | undefined>;

const MIN_SPAN = 0.02; // smaller differences are not enlarged further
const PADDING = 0.08; // of the span, on each side
const CLIPPED = 0.1; // of the values of a curve
const MAX_INTERVALS = 5;
const STEPS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/**
 * The lowest and the highest share of the axis, within 0 to 1. An axis that `clipsStart` leaves out the lowest tenth of
 * each curve, which are the first epochs of a curve of learning: they would hide the differences between all others.
 */
export function shareRange(curves: readonly Values[], clipsStart: boolean): [low: number, high: number] {
  const values = curves.flatMap(finite);
  if (!values.length) return [0, 1];
  const lowest = curves.map((curve) => quantile(finite(curve), clipsStart ? CLIPPED : 0));
  const [least, most] = [Math.min(...lowest), Math.max(...values)];
  const span = Math.max(most - least, MIN_SPAN);
  const padding = Math.max(PADDING * span, (span - (most - least)) / 2);
  const step = STEPS.find((candidate) => span / candidate <= MAX_INTERVALS) ?? STEPS.at(-1)!;
  const low = Math.max(0, Math.floor(rounded((least - padding) / step)) * step);
  const high = Math.min(1, Math.ceil(rounded((most + padding) / step)) * step);
  return low < high ? [rounded(low), rounded(high)] : [0, 1];
}

/** Whether a value of the curves lies below the axis. */
export const isBelow = (curves: readonly Values[], low: number): boolean =>
  curves.some((values) => Array.from(values).some((value) => typeof value === "number" && value < low));

const finite = (values: Values): number[] =>
  Array.from(values, (value) => value ?? Number.NaN).filter((value) => Number.isFinite(value));

/** The smallest value that is not among the lowest `share` of the values; Infinity without values. */
function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.ceil(share * sorted.length), sorted.length - 1)] ?? Infinity;
}

const rounded = (value: number): number => Number(value.toFixed(6));
