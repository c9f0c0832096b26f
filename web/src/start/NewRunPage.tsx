// A new run, as a form generated from the catalogue's schemas: every parameter with its bounds and default.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { fetchArchitectures, fetchDatasets, fetchOptimizers, fetchRunSchema } from "../api/catalogue";
import { ApiError, getJson, postJson } from "../api/client";
import type { FieldError, Run, Spec } from "../api/types";
import { Failure, Loading } from "../components/Failure";
import { useAction } from "../hooks/useAction";
import { navigate, searchParams } from "../navigation";
import { t } from "../text";
import type { Draft } from "./fieldValues";
import { draftOf, type FormCatalogue, optimizerFields, runFields, selectOptimizer, specOf } from "./runForm";
import { Field, Fields } from "./SchemaForm";

export function NewRunPage() {
  const catalogue = useSignal<FormCatalogue | null>(null);
  const draft = useSignal<Draft>({});
  const failure = useSignal<Error | null>(null);

  const load = async () => {
    failure.value = null;
    try {
      const [datasets, architectures, optimizers, schema] = await Promise.all([
        fetchDatasets(),
        fetchArchitectures(),
        fetchOptimizers(),
        fetchRunSchema(),
      ]);
      const loaded = { datasets, architectures, optimizers, schema };
      draft.value = draftOf(loaded, await fetchTemplate());
      catalogue.value = loaded;
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => void load(), []);
  document.title = `${t("new.title")} – Camreel`;
  if (failure.value && !catalogue.value) return <Failure error={failure.value} retry={load} />;
  if (!catalogue.value) return <Loading />;
  const from = searchParams.value.get("from");
  return (
    <main class="new" id="content">
      <h1>{t("new.title")}</h1>
      <p class="muted">{from ? t("new.prefilledFrom", { id: from }) : t("new.prefilled")}</p>
      <RunForm catalogue={catalogue.value} initialDraft={draft.value} />
    </main>
  );
}

/** The settings of the run that the URL names, or null. */
async function fetchTemplate(): Promise<Spec | null> {
  const from = searchParams.peek().get("from");
  return from && /^\d+$/.test(from) ? (await getJson<Run>(`/runs/${from}`)).spec : null;
}

function RunForm({ catalogue, initialDraft }: { catalogue: FormCatalogue; initialDraft: Draft }) {
  const draft = useSignal(initialDraft);
  const errors = useSignal<FieldError[]>([]);
  const action = useAction();
  const onChange = (name: string, value: string) => {
    draft.value = { ...draft.value, [name]: value };
    errors.value = errors.value.filter((error) => !error.field.startsWith(name));
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    await action.run(async () => {
      const run = await postJson<Run>("/runs", specOf(catalogue, draft.value));
      navigate(`/runs/${run.id}`);
    });
    const failure = action.failure.value;
    errors.value = failure instanceof ApiError ? (failure.problem.errors ?? []) : [];
    if (failure) requestAnimationFrame(() => document.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
  };
  const fields = { draft: draft.value, errors: errors.value, onChange };
  const { general, dataset, architecture, training, probes } = runFields(catalogue);
  const selectedDataset = catalogue.datasets.find(({ name }) => name === draft.value.dataset);
  return (
    <form onSubmit={submit} noValidate>
      <fieldset>
        <legend>{t("new.general")}</legend>
        <Fields schemas={general} prefix="" {...fields} />
        <Field name="dataset" schema={dataset} {...fields} />
        {selectedDataset && (
          <p class="note">
            {selectedDataset.title}: {selectedDataset.description} ({selectedDataset.license})
          </p>
        )}
      </fieldset>
      <fieldset>
        <legend>{t("new.network")}</legend>
        <p class="note">{architecture.description}</p>
        <Fields schemas={architecture.parameters.properties!} prefix="architecture." {...fields} />
      </fieldset>
      <fieldset>
        <legend>{t("new.training")}</legend>
        <Fields schemas={training} prefix="" {...fields} />
        <OptimizerChoice
          catalogue={catalogue}
          draft={draft.value}
          onSelect={(name) => (draft.value = selectOptimizer(catalogue, draft.value, name))}
        />
        <Fields schemas={optimizerFields(catalogue, draft.value)} prefix="optimizer." {...fields} />
      </fieldset>
      <fieldset>
        <legend>{t("new.probes")}</legend>
        <Fields schemas={probes} prefix="probes." {...fields} />
      </fieldset>
      {action.failure.value && <Failure error={action.failure.value} />}
      <button type="submit" class="primary" aria-disabled={action.isRunning.value}>
        {t("new.submit")}
      </button>
    </form>
  );
}

interface OptimizerProps {
  catalogue: FormCatalogue;
  draft: Draft;
  onSelect: (name: string) => void;
}

function OptimizerChoice({ catalogue: { optimizers }, draft, onSelect }: OptimizerProps) {
  const selected = draft["optimizer.name"];
  return (
    <div class="field">
      <label for="optimizer">{t("new.optimizer")}</label>
      <select id="optimizer" value={selected} onChange={(event) => onSelect(event.currentTarget.value)}>
        {optimizers.map(({ name }) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </select>
      <p class="note">{optimizers.find(({ name }) => name === selected)?.description}</p>
    </div>
  );
}
