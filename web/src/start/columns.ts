// The columns of the table of runs: results, and the settings of the runs. A new result is an entry of RESULTS.

import { signal } from "@preact/signals";
import type { Json, Run } from "../api/types";
import { formatDuration, formatTime, percent, t } from "../text";
import { fieldLabel } from "../text/fields";

export type CellValue = string | number | boolean | null;

export interface Column {
  key: string; // name of a result, or the dotted path of a setting
  label: string;
  value: (run: Run) => CellValue; // what it is sorted by
  text: (run: Run) => string;
}

const STORAGE_KEY = "camreel.columns";
const DEFAULT_KEYS = ["status", "test_accuracy", "blank", "created"];
const IGNORED_SETTINGS = ["name", "tags", "dataset_info"];
const MAX_TEXT = 40;

function seconds({ started_at, finished_at }: Run): number | null {
  return started_at && finished_at ? (Date.parse(finished_at) - Date.parse(started_at)) / 1000 : null;
}

const share = (value: CellValue): string => (typeof value === "number" ? percent(value, 2) : "");

function blankShare({ summary }: Run): number | null {
  const { total, blank } = summary.blank.proposed ?? { total: 0, blank: 0 };
  return total ? blank / total : null;
}

/** The results by key, in the order of the menu. Those in the table's own layout have no text here. */
export function resultColumns(): Column[] {
  const column = (key: string, label: string, value: Column["value"], text: (value: CellValue) => string): Column => ({
    key,
    label,
    value,
    text: (run) => text(value(run)),
  });
  const accuracies = (run: Run) => run.summary.test_accuracy;
  return [
    column("status", t("start.status"), (run) => run.status, String),
    column("test_accuracy", t("start.accuracy"), (run) => accuracies(run).at(-1) ?? null, share),
    column(
      "best_accuracy",
      t("table.best"),
      (run) => (accuracies(run).length ? Math.max(...accuracies(run)) : null),
      share,
    ),
    column("blank", t("start.blank"), blankShare, share),
    column("epochs_done", t("table.epochs"), (run) => Math.max(0, run.epochs_done), String),
    column("seconds", t("table.duration"), seconds, (value) =>
      typeof value === "number" ? formatDuration(value) : "",
    ),
    column(
      "created",
      t("start.created"),
      (run) => run.created_at,
      (value) => formatTime(String(value)),
    ),
    column(
      "experiment",
      t("table.experiment"),
      (run) => run.experiment_id,
      (value) => (value === null ? "" : `#${value}`),
    ),
    column(
      "notes",
      t("table.notes"),
      (run) => run.notes || null,
      (value) => shorten(String(value ?? "")),
    ),
  ];
}

/** A column of the setting at a dotted path. */
export function settingColumn(path: string): Column {
  const value = (run: Run) => plain(settingOf(run, path));
  return { key: path, label: fieldLabel(path, {}), value, text: (run) => shorten(String(value(run) ?? "")) };
}

/** The dotted paths of all settings that the runs have, without those that are objects. */
export function settingPaths(runs: Run[]): string[] {
  const paths = new Set<string>();
  for (const run of runs) collectPaths(run.spec ?? run.recording?.config ?? {}, "", paths);
  return [...paths].filter((path) => !IGNORED_SETTINGS.includes(path.split(".")[0]!));
}

function collectPaths(value: Json, path: string, paths: Set<string>): void {
  if (value === null || typeof value !== "object" || Array.isArray(value)) void paths.add(path);
  else for (const [key, nested] of Object.entries(value)) collectPaths(nested, path ? `${path}.${key}` : key, paths);
}

/** The setting at a dotted path; null if the run has none. */
export function settingOf(run: Run, path: string): Json {
  let value: Json | undefined = run.spec ?? run.recording?.config ?? {};
  for (const part of path.split(".")) {
    value = typeof value === "object" && value !== null ? (value as Record<string, Json>)[part] : undefined;
  }
  return value ?? null;
}

const plain = (value: Json): CellValue => (typeof value === "object" && value !== null ? JSON.stringify(value) : value);

const shorten = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text);

function storedKeys(): string[] {
  try {
    const keys: unknown = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "");
    return Array.isArray(keys) && keys.every((key) => typeof key === "string") ? keys : DEFAULT_KEYS;
  } catch {
    return DEFAULT_KEYS;
  }
}

/** The keys of the columns that the user has chosen, in their order. */
export const columnKeys = signal<string[]>(storedKeys());

/** Shows those columns from now on; null for the default ones. */
export function setColumnKeys(keys: string[] | null): void {
  columnKeys.value = keys ?? DEFAULT_KEYS;
  localStorage.setItem(STORAGE_KEY, JSON.stringify(columnKeys.value));
}

/** The chosen columns: results in the order of the menu, then settings. */
export function chosenColumns(keys: string[]): Column[] {
  const results = resultColumns();
  const names = results.map(({ key }) => key);
  const settings = keys.filter((key) => !names.includes(key));
  return [...results.filter(({ key }) => keys.includes(key)), ...settings.map(settingColumn)];
}

export interface Sorting {
  key: string;
  isDescending: boolean;
}

/** Parses `-test_accuracy`; null if the text is empty. */
export const parseSorting = (text: string): Sorting | null =>
  text ? { key: text.replace(/^-/, ""), isDescending: text.startsWith("-") } : null;

/** The runs in the order of a column; those without a value come last. */
export function sortRuns(runs: Run[], sorting: Sorting | null): Run[] {
  if (!sorting) return runs;
  const column =
    sorting.key === "name"
      ? { value: (run: Run): CellValue => run.name || null }
      : (resultColumns().find(({ key }) => key === sorting.key) ?? settingColumn(sorting.key));
  const sign = sorting.isDescending ? -1 : 1;
  const order = (a: CellValue, b: CellValue) => {
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  };
  return [...runs].sort((a, b) => order(column.value(a), column.value(b)));
}

export const OPERATORS = ["=", "≠", "<", ">"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface SettingFilter {
  path: string;
  operator: Operator;
  value: string;
}

/** Parses `optimizer.learning_rate=0.1`; null for text of another form. */
export function parseSettingFilter(text: string): SettingFilter | null {
  const match = /^([\w.]+)([=≠<>])(.*)$/.exec(text);
  return match ? { path: match[1]!, operator: match[2] as Operator, value: match[3]! } : null;
}

/** Whether the run's setting compares so with the value; numbers as numbers. */
export function passesFilter(run: Run, filter: SettingFilter | null): boolean {
  if (!filter || filter.value.trim() === "") return true;
  const setting = plain(settingOf(run, filter.path));
  const [a, b] = [Number(setting), Number(filter.value)];
  const areNumbers = typeof setting === "number" && !Number.isNaN(b);
  const isEqual = areNumbers ? a === b : String(setting) === filter.value.trim();
  switch (filter.operator) {
    case "=":
      return isEqual;
    case "≠":
      return !isEqual;
    case "<":
      return areNumbers && a < b;
    case ">":
      return areNumbers && a > b;
  }
}
