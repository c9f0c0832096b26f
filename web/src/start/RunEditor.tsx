// A dialog that changes name, tags and notes of a run.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { fieldErrorsOf, patchJson } from "../api/client";
import type { Run } from "../api/types";
import { Failure } from "../components/Failure";
import { runName } from "../components/StatusBadge";
import { useAction } from "../hooks/useAction";
import { t } from "../text";
import { fieldErrorText } from "../text/fieldErrors";
import { fieldLabel } from "../text/fields";

interface Props {
  run: Run;
  onClose: () => void;
  onSaved: () => void;
}

export function RunEditor({ run, onClose, onSaved }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const draft = useSignal({ name: run.name, tags: run.tags.join(", "), notes: run.notes });
  const action = useAction();
  useEffect(() => dialog.current?.showModal(), []);
  const change = (name: "name" | "tags" | "notes") => (event: { currentTarget: { value: string } }) => {
    draft.value = { ...draft.value, [name]: event.currentTarget.value };
  };
  const save = (event: Event) => {
    event.preventDefault();
    const { name, tags, notes } = draft.value;
    void action.run(async () => {
      await patchJson(`/runs/${run.id}`, { name, tags: tags.split(/[\s,]+/).filter(Boolean), notes });
      onSaved();
      onClose();
    });
  };
  const failure = action.failure.value;
  const errors = fieldErrorsOf(failure);
  return (
    <dialog ref={dialog} class="help editor" aria-labelledby="editor-title" onClose={onClose}>
      <form onSubmit={save}>
        <h2 id="editor-title">{t("table.edit", { name: runName(run) })}</h2>
        <label>
          <span>{fieldLabel("name", {})}</span>
          <input value={draft.value.name} onInput={change("name")} maxLength={200} />
        </label>
        <label>
          <span>{fieldLabel("tags", {})}</span>
          <input value={draft.value.tags} onInput={change("tags")} placeholder={t("form.list")} />
        </label>
        <label>
          <span>{t("table.notes")}</span>
          <textarea value={draft.value.notes} onInput={change("notes")} rows={4} maxLength={5000} />
        </label>
        {failure && !errors.length && <Failure error={failure} />}
        {errors.map((error) => (
          <p key={error.field} class="error" role="alert">
            {fieldErrorText(error.field, error)}
          </p>
        ))}
        <div class="actions">
          <button type="submit" class="primary" aria-disabled={action.isRunning.value}>
            {t("table.save")}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            {t("close")}
          </button>
        </div>
      </form>
    </dialog>
  );
}
