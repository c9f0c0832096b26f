import { t } from "../text";
import { columnKeys, resultColumns, setColumnKeys, settingColumn } from "./columns";

/** The choice of the columns: results, and the settings that the listed runs have. */
export function ColumnMenu({ paths }: { paths: string[] }) {
  const keys = columnKeys.value;
  const toggle = (key: string) =>
    setColumnKeys(keys.includes(key) ? keys.filter((other) => other !== key) : [...keys, key]);
  const group = (title: string, columns: { key: string; label: string }[]) => (
    <fieldset>
      <legend>{title}</legend>
      {columns.map(({ key, label }) => (
        <label key={key} class="tick" title={key}>
          <input type="checkbox" checked={keys.includes(key)} onChange={() => toggle(key)} />
          {label}
        </label>
      ))}
    </fieldset>
  );
  return (
    <details class="column-menu">
      <summary>{t("table.columns")}</summary>
      <div class="column-choice">
        {group(t("table.columns.results"), resultColumns())}
        {group(
          t("table.columns.settings"),
          paths.map((path) => ({ key: path, label: `${settingColumn(path).label} (${path})` })),
        )}
        <button type="button" onClick={() => setColumnKeys(null)}>
          {t("table.columns.reset")}
        </button>
      </div>
    </details>
  );
}
