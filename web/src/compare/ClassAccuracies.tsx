import type { ReadonlySignal } from "@preact/signals";
import { percent, t } from "../text";
import type { Comparison } from "./useComparison";

/** By class, the test accuracy of each run at the cursor's column, and the largest difference between runs. */
export function ClassAccuracies({ comparison, column }: { comparison: Comparison; column: ReadonlySignal<number> }) {
  const { runs, alignment, classNames } = comparison;
  const names = classNames.value;
  const known = runs.flatMap(({ id, feed }, index) => {
    const epochs = feed.epochs.value;
    const epoch = Math.min(alignment.epochAt(index, column.value), epochs.length - 1);
    const accuracies = epochs[epoch]?.per_class_accuracy ?? [];
    return accuracies.length === names.length && names.length ? [{ id, accuracies }] : [];
  });
  if (known.length < 2) return null;
  const spread = (index: number) => {
    const values = known.map(({ accuracies }) => accuracies[index]!);
    return Math.max(...values) - Math.min(...values);
  };
  const largest = Math.max(...names.map((_, index) => spread(index)));
  return (
    <section>
      <h2>{t("compare.byClass")}</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard */}
      <div class="table-frame experiment-runs" tabIndex={0} role="region" aria-label={t("compare.byClass")}>
        <table class="marginal class-accuracies">
          <thead>
            <tr>
              <th>{t("matrix.class")}</th>
              {known.map(({ id }) => (
                <th key={id}>#{id}</th>
              ))}
              <th>{t("compare.byClass.spread")}</th>
            </tr>
          </thead>
          <tbody>
            {names.map((name, index) => (
              <tr key={name} class={spread(index) === largest && largest > 0 ? "current" : undefined}>
                <th scope="row">{name}</th>
                {known.map(({ id, accuracies }) => (
                  <td key={id}>{percent(accuracies[index]!, 1)}</td>
                ))}
                <td>{percent(spread(index), 1)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
