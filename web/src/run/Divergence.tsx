import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hasScope } from "../access/session";
import { getJson } from "../api/client";
import type { Divergence, Run } from "../api/types";
import { Link } from "../components/Link";
import { t } from "../text";

/** Whether the run failed because its loss became infinite or NaN. */
export const hasDiverged = (run: Run): boolean => run.error?.type === "diverged";

/** A learning rate to try after a run that diverged, and why the run is not resumed. */
export function DivergenceAdvice({ run }: { run: Run }) {
  const divergence = useSignal<Divergence | null>(null);
  useEffect(() => {
    getJson<Divergence>(`/runs/${run.id}/divergence`).then(
      (response) => (divergence.value = response),
      () => {}, // the run's error is shown without advice
    );
  }, [run.id]);
  if (!divergence.value) return null;
  const { learning_rate: rate, suggestion } = divergence.value;
  return (
    <>
      <p>
        {t(`divergence.${suggestion.reason}`, { rate, suggestion: suggestion.learning_rate })}{" "}
        {t("divergence.noResume")}
      </p>
      {hasScope("run") && (
        <Link to={`/new?from=${run.id}&optimizer.learning_rate=${suggestion.learning_rate}`} class="button">
          {t("divergence.duplicate")}
        </Link>
      )}
    </>
  );
}
