import { expect, test } from "vitest";
import type { Run } from "../src/api/types";
import { parseSettingFilter, parseSorting, passesFilter, settingPaths, sortRuns } from "../src/start/columns";
import { groupRuns } from "../src/start/runGroups";

const run = (id: number, rate: number | null, accuracy: number | null, experiment_id: number | null = null): Run =>
  ({
    id,
    name: `run ${id}`,
    tags: [],
    notes: "",
    experiment_id,
    status: "succeeded",
    epochs_done: 1,
    spec: rate === null ? null : { dataset: "digits", optimizer: { name: "sgd", learning_rate: rate } },
    recording: null,
    summary: { test_accuracy: accuracy === null ? [] : [0.1, accuracy], blank: {} },
    created_at: "2026-01-01T00:00:00Z",
  }) as unknown as Run;

const RUNS = [run(1, 0.5, 0.9), run(2, 10, null), run(3, 2, 0.95), run(4, null, 0.8)];
const ids = (runs: Run[]) => runs.map(({ id }) => id);

test("runs are sorted by numbers, those without a value last", () => {
  expect(ids(sortRuns(RUNS, parseSorting("optimizer.learning_rate")))).toEqual([1, 3, 2, 4]);
  expect(ids(sortRuns(RUNS, parseSorting("-test_accuracy")))).toEqual([3, 1, 4, 2]);
  expect(ids(sortRuns(RUNS, parseSorting("-name")))).toEqual([4, 3, 2, 1]);
  expect(sortRuns(RUNS, parseSorting(""))).toBe(RUNS);
});

test.each([
  ["optimizer.learning_rate=0.50", [1]],
  ["optimizer.learning_rate>1", [2, 3]],
  ["optimizer.learning_rate<10", [1, 3]],
  ["optimizer.learning_rate≠2", [1, 2, 4]],
  ["optimizer.name=sgd", [1, 2, 3]],
  ["optimizer.name=", [1, 2, 3, 4]],
])("filter %j", (text, expected) => {
  const filter = parseSettingFilter(text);
  expect(ids(RUNS.filter((one) => passesFilter(one, filter)))).toEqual(expected);
});

test("text of another form is no filter", () => {
  expect(parseSettingFilter("optimizer")).toBeNull();
  expect(passesFilter(RUNS[0]!, null)).toBe(true);
});

test("settings are listed by dotted path, without names of the run", () => {
  expect(settingPaths(RUNS)).toEqual(["dataset", "optimizer.name", "optimizer.learning_rate"]);
});

test("runs are grouped by experiment in the order of the first of each", () => {
  const runs = [run(5, 1, 1, 2), run(4, 1, 1), run(3, 1, 1, 2), run(2, 1, 1, 1)];
  expect(groupRuns(runs, true).map(({ experimentId, members }) => [experimentId, ids(members)])).toEqual([
    [2, [5, 3]],
    [null, [4]],
    [1, [2]],
  ]);
  expect(groupRuns(runs, false)).toEqual([{ experimentId: null, members: runs }]);
});
