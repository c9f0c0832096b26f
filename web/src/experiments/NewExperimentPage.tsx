// A new experiment: the fields that vary, seeds, and the settings that all runs share.

import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { fieldErrorsOf, getJson, isNotFound, postJson } from "../api/client";
import type { FieldError } from "../api/types";
import { Failure, FailurePage, Loading } from "../components/Failure";
import { useAction } from "../hooks/useAction";
import { navigate, searchParams } from "../navigation";
import { ErrorSummary } from "../start/ErrorSummary";
import type { Draft } from "../start/fieldValues";
import { fetchFormCatalogue, RunFieldsets } from "../start/RunFieldsets";
import { draftOf, type FormCatalogue, fieldLabels, INPUT, type Part, selectAlternative } from "../start/runForm";
import { describedBy, LabeledField } from "../start/SchemaForm";
import { formatDuration, number, t } from "../text";
import { formErrors, type PlanDraft, planDraftOf, planOf, varyingSchemas } from "./planForm";
import type { DryRun, ExperimentSummary } from "./types";
import { VaryingFields } from "./VaryingFields";

const PREVIEW_DELAY_MS = 700;
const EMPTY: PlanDraft = { name: "", varying: [], samples: "", seeds: "0, 1" };

export function NewExperimentPage() {
  const catalogue = useSignal<FormCatalogue | null>(null);
  const draft = useSignal<Draft>({});
  const plan = useSignal<PlanDraft>(EMPTY);
  const template = useSignal<number | null>(null);
  const failure = useSignal<Error | null>(null);
  const load = async () => {
    failure.value = null;
    try {
      const [loaded, experiment] = await Promise.all([fetchFormCatalogue(), fetchTemplate()]);
      draft.value = { ...draftOf(loaded, experiment?.plan.base ?? null), name: experiment?.plan.name ?? "" };
      if (experiment) plan.value = planDraftOf(experiment.plan);
      template.value = experiment?.id ?? null;
      catalogue.value = loaded;
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => void load(), []);
  document.title = `${t("plan.title")} – Camreel`;
  if (failure.value && !catalogue.value) return <FailurePage error={failure.value} retry={load} />;
  if (!catalogue.value) return <Loading />;
  return (
    <main class="new" id="content">
      <h1>{t("plan.title")}</h1>
      <p class="muted">
        {t("plan.intro")} {template.value !== null && t("plan.introFrom", { id: template.value })}
      </p>
      <PlanForm catalogue={catalogue.value} draft={draft} plan={plan} />
    </main>
  );
}

/** The experiment that the URL names; null if it names none, or one that does not exist. */
async function fetchTemplate(): Promise<ExperimentSummary | null> {
  const from = searchParams.peek().get("from");
  if (!from || !/^[1-9]\d{0,14}$/.test(from)) return null;
  try {
    return await getJson<ExperimentSummary>(`/experiments/${from}`, { limit: 1 });
  } catch (error) {
    if (isNotFound(error as Error)) return null;
    throw error;
  }
}

interface FormProps {
  catalogue: FormCatalogue;
  draft: Signal<Draft>;
  plan: Signal<PlanDraft>;
}

function PlanForm({ catalogue, draft, plan }: FormProps) {
  const errors = useSignal<FieldError[]>([]);
  const action = useAction();
  const body = planOf(catalogue, draft.value, plan.value);
  const preview = usePreview(JSON.stringify(body));
  const set = (changes: Partial<PlanDraft>) => (plan.value = { ...plan.value, ...changes });
  const onChange = (name: string, value: string) => {
    // How the images of another dataset are prepared does not apply.
    draft.value = { ...draft.value, [name]: value, ...(name === "dataset" && { [INPUT]: "" }) };
  };
  const onSelect = (part: Part, name: string) => {
    draft.value = selectAlternative(catalogue, draft.value, part, name);
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    await action.run(async () => {
      const experiment = await postJson<ExperimentSummary>("/experiments", body);
      navigate(`/experiments/${experiment.id}`);
    });
    errors.value = formErrors(fieldErrorsOf(action.failure.value));
  };
  const shownErrors = errors.value.length ? errors.value : preview.errors.value;
  const varyingLabels = plan.value.varying.map(({ path }): [string, string] => [`fields.${path}`, path]);
  const labels = { ...Object.fromEntries(varyingLabels), ...fieldLabels(catalogue, draft.value) };
  return (
    <form onSubmit={submit} noValidate>
      <fieldset>
        <legend>{t("plan.varying")}</legend>
        <VaryingFields
          varying={plan.value.varying}
          schemas={varyingSchemas(catalogue, draft.value)}
          errors={shownErrors}
          onChange={(varying) => {
            errors.value = [];
            set({ varying });
          }}
        />
        <PlanField name="samples" plan={plan.value} errors={shownErrors} onChange={set} />
        <PlanField name="seeds" plan={plan.value} errors={shownErrors} onChange={set} />
      </fieldset>
      <h2>{t("plan.base")}</h2>
      <RunFieldsets
        catalogue={catalogue}
        draft={draft.value}
        errors={shownErrors}
        omitted={["seed", ...plan.value.varying.map(({ path }) => path)]}
        onChange={(name, value) => {
          errors.value = [];
          if (name === "name") set({ name: value });
          onChange(name, value);
        }}
        onSelect={onSelect}
      />
      {action.failure.value && !errors.value.length && <Failure error={action.failure.value} />}
      <ErrorSummary errors={shownErrors} labels={labels} />
      <div class="plan-foot">
        <p role="status">{preview.text.value}</p>
        <ScopeNote scopes={["run"]} />
        <button type="submit" class="primary" disabled={!hasScope("run")} aria-disabled={action.isRunning.value}>
          {t("plan.submit")}
        </button>
      </div>
    </form>
  );
}

interface PlanFieldProps {
  name: "samples" | "seeds";
  plan: PlanDraft;
  errors: FieldError[];
  onChange: (changes: Partial<PlanDraft>) => void;
}

function PlanField({ name, plan, errors, onChange }: PlanFieldProps) {
  return (
    <LabeledField name={name} label={t(`plan.${name}`)} errors={errors} note={t(`plan.${name}.note`)}>
      <input
        {...describedBy(name, errors)}
        value={plan[name]}
        onInput={(event) => onChange({ [name]: event.currentTarget.value })}
      />
    </LabeledField>
  );
}

/** What the service would start for the plan, given as JSON: a sentence, or the errors of the plan. */
function usePreview(body: string) {
  const text = useSignal("");
  const errors = useSignal<FieldError[]>([]);
  const isPermitted = hasScope("run"); // known once the session is
  useEffect(() => {
    if (!isPermitted) return;
    let isOutdated = false;
    const timer = setTimeout(async () => {
      try {
        const answer = await postJson<DryRun>("/experiments", { ...JSON.parse(body), dry_run: true });
        if (!isOutdated) [text.value, errors.value] = [previewText(answer), []];
      } catch (error) {
        if (!isOutdated) [text.value, errors.value] = ["", formErrors(fieldErrorsOf(error as Error))];
      }
    }, PREVIEW_DELAY_MS);
    return () => {
      isOutdated = true;
      clearTimeout(timer);
    };
  }, [body, isPermitted]);
  return { text, errors };
}

function previewText({ runs_total, settings_total, estimate }: DryRun): string {
  const runs = t("plan.preview.runs", {
    settings: number(settings_total),
    seeds: number(runs_total / settings_total),
    runs: number(runs_total),
  });
  if (!estimate) return `${runs} ${t("plan.preview.unknown")}`;
  const slots = { time: formatDuration(estimate.seconds), count: estimate.basis_run_ids.length };
  return `${runs} ${t(estimate.is_scaled ? "plan.preview.scaled" : "plan.preview.time", slots)}`;
}
