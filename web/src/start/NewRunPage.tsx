// A new run, as a form generated from the catalogue's schemas: every parameter with its bounds and default.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { ScopeNote } from "../access/ScopeNote";
import { hasScope } from "../access/session";
import { fieldErrorsOf, getJson, isNotFound, postJson } from "../api/client";
import type { FieldError, Run, Spec } from "../api/types";
import { Failure, FailurePage, Loading } from "../components/Failure";
import { useAction } from "../hooks/useAction";
import { navigate, searchParams } from "../navigation";
import { t } from "../text";
import { isErrorOf } from "../text/fieldErrors";
import { ErrorSummary } from "./ErrorSummary";
import type { Draft } from "./fieldValues";
import { fetchFormCatalogue, RunFieldsets } from "./RunFieldsets";
import { draftOf, type FormCatalogue, fieldLabels, INPUT, type Part, selectAlternative, specOf } from "./runForm";

export function NewRunPage() {
  const catalogue = useSignal<FormCatalogue | null>(null);
  const draft = useSignal<Draft>({});
  const hasTemplate = useSignal(false);
  const failure = useSignal<Error | null>(null);

  const load = async () => {
    failure.value = null;
    try {
      const loaded = await fetchFormCatalogue();
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
  return (
    <form ref={form} onSubmit={submit} noValidate>
      <RunFieldsets catalogue={catalogue} onSelect={onSelect} {...fields} />
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
