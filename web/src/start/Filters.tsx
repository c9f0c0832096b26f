import { useSignal } from "@preact/signals";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { replaceSearchParams, searchParams } from "../navigation";
import { t } from "../text";
import { OPERATORS, type Operator, type SettingFilter, settingColumn } from "./columns";
import type { RunFilter } from "./useRunList";

const TYPING_DELAY_MS = 250;
export const STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"] as const;

interface Props extends RunFilter {
  setting: SettingFilter | null;
  paths: string[]; // of the settings that the listed runs have
}

/** The filter of the list of runs, which the URL holds. */
export function Filters({ search, status, tag, experiment, setting, paths }: Props) {
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
      <SettingFilterFields setting={setting} paths={paths} />
      <label class="tick">
        <input
          type="checkbox"
          checked={searchParams.value.get("group") === "experiment"}
          onChange={(event) => replaceSearchParams({ group: event.currentTarget.checked ? "experiment" : null })}
        />
        {t("table.group")}
      </label>
      {experiment && (
        <button
          type="button"
          class="tag selected"
          onClick={() => replaceSearchParams({ experiment: null })}
          aria-label={t("start.untag", { tag: t("experiment.of", { id: experiment }) })}
        >
          {t("experiment.of", { id: experiment })} ×
        </button>
      )}
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

/** A filter on the value of one setting, which the page applies to the runs that it has loaded. */
function SettingFilterFields({ setting, paths }: { setting: SettingFilter | null; paths: string[] }) {
  const { path, operator, value } = setting ?? { path: "", operator: "=" as Operator, value: "" };
  const set = (changes: Partial<SettingFilter>) => {
    const next = { path, operator, value, ...changes };
    replaceSearchParams({ setting: next.path ? `${next.path}${next.operator}${next.value}` : null });
  };
  return (
    <div class="setting-filter">
      <label>
        <span>{t("table.filter")}</span>
        <select value={path} onChange={(event) => set({ path: event.currentTarget.value })}>
          <option value="">{t("table.filter.none")}</option>
          {[...new Set([...paths, ...(path ? [path] : [])])].map((name) => (
            <option key={name} value={name}>
              {settingColumn(name).label} ({name})
            </option>
          ))}
        </select>
      </label>
      {path && (
        <>
          <select
            aria-label={t("table.filter.operator")}
            value={operator}
            onChange={(event) => set({ operator: event.currentTarget.value as Operator })}
          >
            {OPERATORS.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
          <input
            aria-label={t("table.filter.value")}
            value={value}
            onInput={(event) => set({ value: event.currentTarget.value })}
            size={8}
          />
        </>
      )}
    </div>
  );
}
