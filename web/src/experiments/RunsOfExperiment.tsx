import { useSignal } from "@preact/signals";
import { Link } from "../components/Link";
import { t } from "../text";
import { measureName, measureText, pathLabel, valueText } from "./format";
import type { Experiment, ExperimentRun } from "./types";

type Value = number | string | null;

interface Column {
  key: string;
  label: string;
  title?: string;
  value: (run: ExperimentRun) => Value;
  text: (run: ExperimentRun) => string;
}

function columnsOf({ fields, measures }: Experiment): Column[] {
  const plain = (value: unknown): Value =>
    typeof value === "number" || typeof value === "string" ? value : JSON.stringify(value);
  return [
    ...fields.map((path) => ({
      key: path,
      label: pathLabel(path),
      title: path,
      value: (run: ExperimentRun) => plain(run.parameters[path] ?? null),
      text: (run: ExperimentRun) => valueText(run.parameters[path] ?? null),
    })),
    { key: "seed", label: t("experiment.seed"), value: (run) => run.seed, text: (run) => String(run.seed) },
    {
      key: "epochs",
      label: t("table.epochs"),
      value: (run) => run.epochs_done,
      text: (run) => `${Math.max(0, run.epochs_done)}/${run.epochs_total}`,
    },
    ...measures.map(({ name, description }) => ({
      key: name,
      label: measureName(name),
      title: description,
      value: (run: ExperimentRun) => run.measures[name] ?? null,
      text: (run: ExperimentRun) => measureText(run.measures[name] ?? null),
    })),
  ];
}

/** All runs with their settings and the measures of their last epoch, sorted by any column. */
export function RunsOfExperiment({ experiment, runs }: { experiment: Experiment; runs: ExperimentRun[] }) {
  const sorting = useSignal<{ key: string; isDescending: boolean } | null>(null);
  const columns = columnsOf(experiment);
  const current = sorting.value;
  const column = columns.find(({ key }) => key === current?.key);
  const sorted = column
    ? [...runs].sort((a, b) => order(column.value(a), column.value(b), current!.isDescending))
    : runs;
  const sort = (key: string) => {
    const isSame = current?.key === key;
    sorting.value = !isSame ? { key, isDescending: true } : current.isDescending ? { key, isDescending: false } : null;
  };
  return (
    <section>
      <div class="reel-head">
        <h2>{t("experiment.runs")}</h2>
        <Link to={`?experiment=${experiment.id}`}>{t("experiment.compare")}</Link>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard */}
      <div class="table-frame experiment-runs" tabIndex={0} role="region" aria-label={t("experiment.runs")}>
        <table class="marginal runs-of-experiment">
          <thead>
            <tr>
              <th>{t("start.run")}</th>
              <th>{t("start.status")}</th>
              {columns.map(({ key, label, title }) => (
                <th key={key} title={title} aria-sort={sortOrder(current, key)}>
                  <button type="button" class="sort" onClick={() => sort(key)}>
                    {label}
                    <span aria-hidden="true">{arrow(current, key)}</span>
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.map((run) => (
              <tr key={run.run_id}>
                <th scope="row">
                  <Link to={`/runs/${run.run_id}`}>#{run.run_id}</Link>
                </th>
                <td>
                  <span class={`status ${run.status}`} title={run.error?.detail}>
                    {t(`status.${run.status}`)}
                  </span>
                </td>
                {columns.map(({ key, text }) => (
                  <td key={key}>{text(run)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

type Sorting = { key: string; isDescending: boolean } | null;

function sortOrder(sorting: Sorting, key: string): "ascending" | "descending" | "none" {
  if (sorting?.key !== key) return "none";
  return sorting.isDescending ? "descending" : "ascending";
}

const arrow = (sorting: Sorting, key: string): string =>
  ({ ascending: " ↑", descending: " ↓", none: "" })[sortOrder(sorting, key)];

/** Numbers by size, texts by alphabet; what has no value comes last. */
function order(a: Value, b: Value, isDescending: boolean): number {
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  const difference = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return isDescending ? -difference : difference;
}
