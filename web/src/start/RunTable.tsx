import { hasEnded } from "../api/runEvents";
import type { Run } from "../api/types";
import { Link } from "../components/Link";
import { RunProgress, runName, StatusBadge } from "../components/StatusBadge";
import { specTitle } from "../maps/methodTitles";
import { replaceSearchParams } from "../navigation";
import { MAX_COMPARED } from "../route";
import { activityText } from "../run/RunActivity";
import { formatTime, percent, t } from "../text";
import { Sparkline } from "./Sparkline";

interface Props {
  runs: Run[];
  selectedIds: number[];
  onToggle: (id: number) => void;
}

export function RunTable({ runs, selectedIds, onToggle }: Props) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("start.title")}>
      <table class="runs">
        <thead>
          <tr>
            <th>
              <span class="visually-hidden">{t("start.compare")}</span>
            </th>
            <th>{t("start.run")}</th>
            <th>{t("start.status")}</th>
            <th>{t("start.accuracy")}</th>
            <th>{t("start.blank")}</th>
            <th>{t("start.created")}</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <RunRow
              key={run.id}
              run={run}
              isSelected={selectedIds.includes(run.id)}
              isSelectable={selectedIds.length < MAX_COMPARED || selectedIds.includes(run.id)}
              onToggle={() => onToggle(run.id)}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  run: Run;
  isSelected: boolean;
  isSelectable: boolean;
  onToggle: () => void;
}

function RunRow({ run, isSelected, isSelectable, onToggle }: RowProps) {
  const accuracies = run.summary.test_accuracy;
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          checked={isSelected}
          disabled={!isSelectable}
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
        <div>
          {run.tags.map((tag) => (
            <button key={tag} type="button" class="tag" onClick={() => replaceSearchParams({ tag })}>
              {tag}
            </button>
          ))}
        </div>
      </th>
      <td>
        <StatusBadge run={run} />
        <div class="muted">{t("run.epochs", { done: Math.max(0, run.epochs_done), total: run.epochs_total })}</div>
        {!hasEnded(run) && <RunProgress run={run} />}
        {!hasEnded(run) && <div class="note">{activityText(run)}</div>}
      </td>
      <td class="figure">
        <Sparkline values={accuracies} />
        {accuracies.length > 0 && percent(accuracies.at(-1)!, 2)}
      </td>
      <td class="figure">
        <BlankShares run={run} />
      </td>
      <td class="muted">{formatTime(run.created_at)}</td>
    </tr>
  );
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
