import { useSignal } from "@preact/signals";
import { hasScope } from "../access/session";
import { fieldErrorsOf, postJson } from "../api/client";
import type { Run } from "../api/types";
import type { Action } from "../hooks/useAction";
import { t } from "../text";
import { errorText } from "../text/fieldErrors";

const MORE_EPOCHS = 10; // proposed for a run that has reached its last epoch

interface Props {
  run: Run;
  action: Action;
  onResumed: () => Promise<void>;
}

/** Resumes a run that has ended, until its last epoch or a later one. */
export function ResumeForm({ run, action, onResumed }: Props) {
  const done = Math.max(0, run.epochs_done);
  const until = useSignal(String(done < run.epochs_total ? run.epochs_total : run.epochs_total + MORE_EPOCHS));
  const submit = (event: Event) => {
    event.preventDefault();
    void action.run(async () => {
      await postJson(`/runs/${run.id}/resume`, { epochs: Number(until.value) });
      await onResumed();
    });
  };
  const errors = fieldErrorsOf(action.failure.value).filter(({ field }) => field === "epochs");
  return (
    <form class="resume-form" onSubmit={submit}>
      <button type="submit" disabled={!hasScope("run")}>
        {t("run.resume")}
      </button>
      <label>
        <span>{t("run.resume.until")}</span>{" "}
        <input
          type="number"
          min={done + 1}
          step={1}
          required
          disabled={!hasScope("run")}
          value={until.value}
          aria-invalid={errors.length > 0}
          aria-describedby={errors.length ? "resume-error" : undefined}
          onInput={(event) => (until.value = event.currentTarget.value)}
        />
      </label>
      {errors.length > 0 && (
        <p class="error" id="resume-error" role="alert">
          {errors.map(errorText).join(" ")}
        </p>
      )}
    </form>
  );
}
