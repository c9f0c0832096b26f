import { useComputed, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { hasScope } from "../access/session";
import { getJson } from "../api/client";
import type { Divergence, DivergenceSteps, Run } from "../api/types";
import { Link } from "../components/Link";
import { t } from "../text";
import { Curves } from "./Curves";
import type { Chart } from "./charts";

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
  const { learning_rate: rate, suggestion, steps } = divergence.value;
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
      {steps && <StepCharts steps={steps} />}
    </>
  );
}

/** Loss and gradient norm of the last steps, with a marker at the divergence. */
function StepCharts({ steps }: { steps: DivergenceSteps }) {
  const { epoch, first_step: firstStep } = steps;
  const x = useComputed(() => steps.losses.map((_, index) => firstStep + index));
  const position = useComputed(() => firstStep + steps.losses.length - 1);
  const loss = useComputed<Chart>(() => ({
    title: t("divergence.loss", { epoch }),
    note: t("divergence.marker"),
    unit: "magnitude",
    curves: [{ label: t("curves.train"), values: steps.losses, color: 1 }],
  }));
  const norm = useComputed<Chart>(() => ({
    title: t("divergence.norm", { epoch }),
    unit: "magnitude",
    // Steps without a measurement are passed over, not gaps.
    curves: [{ label: t("curves.train"), values: steps.gradient_norms.map((value) => value ?? undefined), color: 1 }],
  }));
  return <Curves charts={[loss, norm]} x={x} position={position} xLabel={t("divergence.step")} onSelect={() => {}} />;
}
