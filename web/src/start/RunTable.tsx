import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { hasScope } from "../access/session";
import { hasEnded } from "../api/runEvents";
import type { Run } from "../api/types";
import { Link } from "../components/Link";
import { RunProgress, runName, StatusBadge } from "../components/StatusBadge";
import { specTitle } from "../maps/methodTitles";
import { replaceSearchParams } from "../navigation";
import { activityText } from "../run/RunActivity";
import { formatTime, percent, t } from "../text";
import { type Column, chosenColumns, columnKeys, type Sorting } from "./columns";
import { RunEditor } from "./RunEditor";
import { groupRuns } from "./runGroups";
import { Sparkline } from "./Sparkline";

interface Props {
  runs: Run[]; // in the order of the table
  selectedIds: Signal<number[]>;
  sorting: Sorting | null;
  isGrouped: boolean;
  onEdited: () => void;
}

export function RunTable({ runs, selectedIds, sorting, isGrouped, onEdited }: Props) {
  const edited = useSignal<Run | null>(null);
  const columns = chosenColumns(columnKeys.value);
  const ids = selectedIds.value;
  const toggle = (id: number) => {
    selectedIds.value = ids.includes(id) ? ids.filter((other) => other !== id) : [...ids, id];
  };
  const areAllSelected = runs.length > 0 && runs.every(({ id }) => ids.includes(id));
  const toggleAll = () => (selectedIds.value = areAllSelected ? [] : runs.map(({ id }) => id));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("start.title")}>
      <table class="runs">
        <thead>
          <tr>
            <th>
              <input
                type="checkbox"
                checked={areAllSelected}
                onChange={toggleAll}
                aria-label={t("table.selectAll")}
                title={t("table.selectAll")}
              />
            </th>
            <SortableHead column={{ key: "name", label: t("start.run") }} sorting={sorting} />
            {columns.map((column) => (
              <SortableHead key={column.key} column={column} sorting={sorting} />
            ))}
          </tr>
        </thead>
        {groupRuns(runs, isGrouped).map(({ experimentId, members }) => (
          <tbody key={experimentId ?? "single"}>
            {experimentId !== null && (
              <tr class="group">
                <th colSpan={columns.length + 2} scope="rowgroup">
                  <Link to={`/experiments/${experimentId}`}>{t("experiment.of", { id: experimentId })}</Link>{" "}
                  <span class="muted">{t("table.runs", { count: members.length })}</span>
                </th>
              </tr>
            )}
            {members.map((run) => (
              <RunRow
                key={run.id}
                run={run}
                columns={columns}
                isSelected={ids.includes(run.id)}
                onToggle={() => toggle(run.id)}
                onEdit={() => (edited.value = run)}
              />
            ))}
          </tbody>
        ))}
      </table>
      {edited.value && <RunEditor run={edited.value} onClose={() => (edited.value = null)} onSaved={onEdited} />}
    </div>
  );
}

/** A column head that sorts by the column: first the largest values, then the smallest, then as the list comes. */
function SortableHead({ column, sorting }: { column: Pick<Column, "key" | "label">; sorting: Sorting | null }) {
  const { key, label } = column;
  const current = sorting?.key === key ? sorting : null;
  const next = !current ? `-${key}` : current.isDescending ? key : null;
  const order = current && (current.isDescending ? "descending" : "ascending");
  return (
    <th aria-sort={order ?? "none"}>
      <button
        type="button"
        class="sort"
        title={t("table.sort", { name: label })}
        onClick={() => replaceSearchParams({ sort: next })}
      >
        {label}
        <span aria-hidden="true">{order ? { descending: " ↓", ascending: " ↑" }[order] : ""}</span>
      </button>
    </th>
  );
}

interface RowProps {
  run: Run;
  columns: Column[];
  isSelected: boolean;
  onToggle: () => void;
  onEdit: () => void;
}

function RunRow({ run, columns, isSelected, onToggle, onEdit }: RowProps) {
  return (
    <tr class={isSelected ? "selected-row" : undefined}>
      <td>
        <input
          type="checkbox"
          checked={isSelected}
          onChange={onToggle}
          aria-label={t("start.select", { name: runName(run) })}
        />
      </td>
      <th scope="row">
        <Link to={`/runs/${run.id}`}>{runName(run)}</Link>
        <span class="muted">
          {" "}
          #{run.id} · {run.spec?.dataset ?? t("run.recorded")}
        </span>
        {hasScope("run") && (
          <button type="button" class="edit" aria-label={t("table.edit", { name: runName(run) })} onClick={onEdit}>
            {t("table.edit.short")}
          </button>
        )}
        <div>
          {run.tags.map((tag) => (
            <button key={tag} type="button" class="tag" onClick={() => replaceSearchParams({ tag })}>
              {tag}
            </button>
          ))}
        </div>
      </th>
      {columns.map((column) => (
        <td key={column.key} class={`figure column-${column.key.replaceAll(".", "-")}`} data-label={column.label}>
          <Cell run={run} column={column} />
        </td>
      ))}
    </tr>
  );
}

function Cell({ run, column }: { run: Run; column: Column }) {
  switch (column.key) {
    case "status":
      return (
        <>
          <StatusBadge run={run} />
          <div class="muted">{t("run.epochs", { done: Math.max(0, run.epochs_done), total: run.epochs_total })}</div>
          {!hasEnded(run) && <RunProgress run={run} />}
          {!hasEnded(run) && <div class="note">{activityText(run)}</div>}
        </>
      );
    case "test_accuracy": {
      const accuracies = run.summary.test_accuracy;
      return (
        <>
          <Sparkline values={accuracies} />
          {accuracies.length > 0 && percent(accuracies.at(-1)!, 2)}
        </>
      );
    }
    case "blank":
      return <BlankShares run={run} />;
    case "created":
      return <span class="muted">{formatTime(run.created_at)}</span>;
    case "experiment":
      return run.experiment_id === null ? null : (
        <Link to={`/experiments/${run.experiment_id}`}>{t("experiment.of", { id: run.experiment_id })}</Link>
      );
    default:
      return <span title={run.notes && column.key === "notes" ? run.notes : undefined}>{column.text(run)}</span>;
  }
}

/** By method: how many of the probes' maps are blank. */
function BlankShares({ run }: { run: Run }) {
  return (
    <>
      {Object.entries(run.summary.blank)
        .filter(([, { total }]) => total > 0)
        .map(([method, { total, blank }]) => (
          <div key={method} class="blank-share" title={t("start.blankOf", { method: specTitle(method), blank, total })}>
            <span class="muted">{specTitle(method)}</span> {percent(blank / total, 0)}
          </div>
        ))}
    </>
  );
}
