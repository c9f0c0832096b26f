import type { Run } from "../api/types";
import { Link } from "../components/Link";
import { runName, StatusBadge } from "../components/StatusBadge";
import { t } from "../text";
import { differences } from "./differences";

/** The runs side by side, with the settings that differ between them. */
export function DifferenceTable({ runs }: { runs: Run[] }) {
  const rows = differences(runs.map((run) => run.spec ?? run.recording?.config ?? {}));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("compare.differences")}>
      <table class="differences">
        <thead>
          <tr>
            <th>{t("compare.differences")}</th>
            {runs.map((run) => (
              <th key={run.id}>
                <Link to={`/runs/${run.id}`}>{runName(run)}</Link> <span class="muted">#{run.id}</span>{" "}
                <StatusBadge run={run} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, values }) => (
            <tr key={name}>
              <th scope="row">
                <code>{name}</code>
              </th>
              {values.map((value, index) => (
                <td key={index}>{value}</td>
              ))}
            </tr>
          ))}
          {!rows.length && (
            <tr>
              <td colSpan={runs.length + 1}>{t("compare.same")}</td>
            </tr>
          )}
        </tbody>
      </table>
    </div>
  );
}
