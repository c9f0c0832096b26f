import { useSignal } from "@preact/signals";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { replaceSearchParams } from "../navigation";
import { t } from "../text";
import type { RunFilter } from "./useRunList";

const TYPING_DELAY_MS = 250;
export const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"] as const;

/** The filter of the list of runs, which the URL holds. */
export function Filters({ search, status, tag }: RunFilter) {
  const text = useSignal(search);
  useSignalLayoutEffect(() => {
    const { value } = text;
    const timer = setTimeout(() => replaceSearchParams({ search: value || null }), TYPING_DELAY_MS);
    return () => clearTimeout(timer);
  });
  return (
    <search class="filters">
      <label>
        <span>{t("start.search")}</span>
        <input
          type="search"
          value={text.value}
          onInput={(event) => (text.value = event.currentTarget.value)}
          maxLength={100}
        />
      </label>
      <label>
        <span>{t("start.status")}</span>
        <select value={status} onChange={(event) => replaceSearchParams({ status: event.currentTarget.value || null })}>
          <option value="">{t("start.any")}</option>
          {STATUSES.map((name) => (
            <option key={name} value={name}>
              {t(`status.${name}`)}
            </option>
          ))}
        </select>
      </label>
      {tag && (
        <button
          type="button"
          class="tag selected"
          onClick={() => replaceSearchParams({ tag: null })}
          aria-label={t("start.untag", { tag })}
        >
          {tag} ×
        </button>
      )}
    </search>
  );
}
