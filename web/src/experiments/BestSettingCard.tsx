import { Link } from "../components/Link";
import { t } from "../text";
import { measureName, measureText, settingText } from "./format";
import type { Comparison } from "./types";

interface Props {
  comparison: Comparison | null;
  measure: string;
}

/** The setting with the best mean of the measure, and whether others differ from it by more than noise. */
export function BestSettingCard({ comparison, measure }: Props) {
  if (!comparison) return null;
  const best = comparison.best.find((candidate) => candidate.measure === measure);
  if (comparison.column === null) return <p class="muted">{t("experiment.best.none")}</p>;
  if (!best) return null; // no value of the measure is better than another
  return (
    <section class="best" aria-label={t("experiment.best", { measure: measureName(measure) })}>
      <h2>{t("experiment.best", { measure: measureName(measure) })}</h2>
      <p>
        <b>
          {t("experiment.best.mean", {
            setting: settingText(best.parameters) || "–",
            mean: measureText(best.mean),
            count: best.run_ids.length,
          })}
        </b>{" "}
        {best.run_ids.map((id) => (
          <span key={id}>
            <Link to={`/runs/${id}`}>#{id}</Link>{" "}
          </span>
        ))}
      </p>
      {!best.indistinguishable?.length && (
        <p>{t(best.indistinguishable ? "experiment.best.clear" : "experiment.best.unknown")}</p>
      )}
      {best.indistinguishable && best.indistinguishable.length > 0 && (
        <details>
          <summary>{t("experiment.best.noise", { count: best.indistinguishable.length })}</summary>
          <ul>
            {best.indistinguishable.map((setting) => (
              <li key={settingText(setting)}>{settingText(setting)}</li>
            ))}
          </ul>
        </details>
      )}
      <p class="note">{t("experiment.best.optimistic")}</p>
    </section>
  );
}
