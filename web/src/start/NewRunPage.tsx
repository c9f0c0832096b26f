// A new run, as a form generated from the catalogue's schemas: every parameter with its bounds and default.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { fetchArchitectures, fetchDatasets, fetchOptimizers, fetchRunSchema, fetchSchedules } from "../api/catalogue";
import { fieldErrorsOf, getJson, isNotFound, postJson } from "../api/client";
import type { FieldError, Run, Spec } from "../api/types";
import { Failure, FailurePage, Loading } from "../components/Failure";
import { useAction } from "../hooks/useAction";
import { navigate, searchParams } from "../navigation";
import { t } from "../text";
import { isErrorOf } from "../text/fieldErrors";
import { DatasetCard } from "./DatasetCard";
import { ErrorSummary } from "./ErrorSummary";
import type { Draft } from "./fieldValues";
import {
  draftOf,
  type FormCatalogue,
  fieldLabels,
  INPUT,
  namesOf,
  type Part,
  PLANTED,
  parameterFields,
  runFields,
  selectAlternative,
  selectedAlternative,
  specOf,
} from "./runForm";
import { describedBy, Field, Fields, type FormProps, LabeledField } from "./SchemaForm";

export function NewRunPage() {
  const catalogue = useSignal<FormCatalogue | null>(null);
  const draft = useSignal<Draft>({});
  const hasTemplate = useSignal(false);
  const failure = useSignal<Error | null>(null);

  const load = async () => {
    failure.value = null;
    try {
      const [datasets, architecture, optimizer, schedule, schema] = await Promise.all([
        fetchDatasets(),
        fetchArchitectures(),
        fetchOptimizers(),
        fetchSchedules(),
        fetchRunSchema(),
      ]);
      const loaded = { datasets, alternatives: { architecture, optimizer, schedule }, schema };
      const template = await fetchTemplate();
      hasTemplate.value = template !== null;
      draft.value = withUrlValues(draftOf(loaded, template));
      catalogue.value = loaded;
    } catch (error) {
      failure.value = error as Error;
    }
  };
  useEffect(() => void load(), []);
  document.title = `${t("new.title")} – Camreel`;
  if (failure.value && !catalogue.value) return <FailurePage error={failure.value} retry={load} />;
  if (!catalogue.value) return <Loading />;
  return (
    <main class="new" id="content">
      <h1>{t("new.title")}</h1>
      <p class="muted">{introduction(searchParams.value.get("from"), hasTemplate.value)}</p>
      <RunForm catalogue={catalogue.value} initialDraft={draft.value} />
    </main>
  );
}

/** Which settings the form is filled with. */
function introduction(from: string | null, hasTemplate: boolean): string {
  if (from === null) return t("new.prefilled");
  return t(hasTemplate ? "new.prefilledFrom" : "new.notFound", { id: from });
}

/** The draft with the fields that the URL gives, as in `?from=5&optimizer.learning_rate=0.01`. */
function withUrlValues(draft: Draft): Draft {
  const values = [...searchParams.peek()].filter(([name]) => name in draft && name !== INPUT);
  return { ...draft, ...Object.fromEntries(values) };
}

/** The settings of the run that the URL names; null if it names none, or one that does not exist. */
async function fetchTemplate(): Promise<Spec | null> {
  const from = searchParams.peek().get("from");
  if (!from || !/^[1-9]\d{0,14}$/.test(from)) return null;
  try {
    return (await getJson<Run>(`/runs/${from}`)).spec;
  } catch (error) {
    if (isNotFound(error as Error)) return null;
    throw error;
  }
}

function RunForm({ catalogue, initialDraft }: { catalogue: FormCatalogue; initialDraft: Draft }) {
  const draft = useSignal(initialDraft);
  const errors = useSignal<FieldError[]>([]);
  const form = useRef<HTMLFormElement>(null);
  const action = useAction();
  const onChange = (name: string, value: string) => {
    // How the images of another dataset are prepared does not apply.
    draft.value = { ...draft.value, [name]: value, ...(name === "dataset" && { [INPUT]: "" }) };
    errors.value = errors.value.filter((error) => !isErrorOf(name, error));
  };
  const onSelect = (part: Part, name: string) => {
    draft.value = selectAlternative(catalogue, draft.value, part, name);
    errors.value = errors.value.filter((error) => !isErrorOf(part, error));
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    errors.value = [];
    await action.run(async () => {
      const run = await postJson<Run>("/runs", specOf(catalogue, draft.value));
      navigate(`/runs/${run.id}`);
    });
    errors.value = fieldErrorsOf(action.failure.value);
    if (action.failure.value) requestAnimationFrame(() => focusError(form.current));
  };
  const isRefused = fieldErrorsOf(action.failure.value).length > 0; // with errors of fields
  const fields = { draft: draft.value, errors: errors.value, onChange };
  const choice = { catalogue, ...fields, onSelect };
  const { general, dataset, training, plant, augmentation, probes } = runFields(catalogue);
  const selectedDataset = catalogue.datasets.find(({ name }) => name === draft.value.dataset);
  return (
    <form ref={form} onSubmit={submit} noValidate>
      <fieldset>
        <legend>{t("new.general")}</legend>
        <Fields schemas={general} prefix="" {...fields} />
        <Field name="dataset" schema={dataset} {...fields} />
        {selectedDataset && <DatasetCard dataset={selectedDataset} />}
        {draft.value.dataset === PLANTED && <Fields schemas={plant} prefix="plant." {...fields} />}
        {draft.value[INPUT] && <p class="note">{t("new.input")}</p>}
      </fieldset>
      <fieldset>
        <legend>{t("new.network")}</legend>
        <PartFields part="architecture" {...choice} />
      </fieldset>
      <fieldset>
        <legend>{t("new.training")}</legend>
        <Fields schemas={training} prefix="" {...fields} />
        <PartFields part="optimizer" {...choice} />
        <PartFields part="schedule" {...choice} />
      </fieldset>
      <fieldset>
        <legend>{t("new.augmentation")}</legend>
        <p class="note">{t("new.augmentationNote")}</p>
        <Fields schemas={augmentation} prefix="augmentation." {...fields} />
      </fieldset>
      <fieldset>
        <legend>{t("new.probes")}</legend>
        <Fields schemas={probes} prefix="probes." {...fields} />
      </fieldset>
      {action.failure.value && !isRefused && <Failure error={action.failure.value} />}
      <ErrorSummary errors={errors.value} labels={fieldLabels(catalogue, draft.value)} />
      <ScopeNote scopes={["run"]} id="new-scope-note" />
      <button
        type="submit"
        class="primary"
        disabled={!hasScope("run")}
        aria-disabled={action.isRunning.value}
        aria-describedby="new-scope-note"
      >
        {t("new.submit")}
      </button>
    </form>
  );
}

/** Moves the focus to the first invalid input, or to the message of an error without one. */
function focusError(form: HTMLFormElement | null): void {
  form?.querySelector<HTMLElement>("[aria-invalid=true], .failure")?.focus();
}

interface PartProps extends FormProps {
  part: Part;
  catalogue: FormCatalogue;
  onSelect: (part: Part, name: string) => void;
}

/** The choice among a part's alternatives, and the parameters of the selected one. */
function PartFields({ part, catalogue, onSelect, ...fields }: PartProps) {
  const { draft, errors } = fields;
  const name = `${part}.name`;
  const note = selectedAlternative(catalogue, draft, part).description;
  return (
    <>
      <LabeledField name={name} label={t(`new.${part}`)} errors={errors} note={note}>
        <select
          {...describedBy(name, errors)}
          value={draft[name]}
          onChange={(event) => onSelect(part, event.currentTarget.value)}
        >
          {catalogue.alternatives[part].flatMap(namesOf).map((option) => (
            <option key={option} value={option}>
              {option}
            </option>
          ))}
        </select>
      </LabeledField>
      <Fields schemas={parameterFields(catalogue, draft, part)} prefix={`${part}.`} {...fields} />
    </>
  );
}
