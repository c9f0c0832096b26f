import { expect, test, vi } from "vitest";

vi.stubGlobal("location", { pathname: "/", search: "", href: "http://test/" });
vi.stubGlobal("CSS", { supports: () => false });
vi.stubGlobal("addEventListener", () => {});

const { tableClasses } = await import("../src/run/ClassScoresTable");
const { lowestClasses } = await import("../src/run/charts");

test("the table of a few classes has all of them, in their order", () => {
  expect(tableClasses(3, [0.1, 0.7, 0.2], [])).toEqual([0, 1, 2]);
});

test("the table of many classes has the most probable ten and the added ones", () => {
  const probabilities = Array.from({ length: 1000 }, (_, index) => (index < 990 ? 0 : (index - 989) / 55));
  const indices = tableClasses(1000, probabilities, [3, null, 999]);
  expect(indices).toEqual([999, 998, 997, 996, 995, 994, 993, 992, 991, 990, 3]);
  expect(tableClasses(1000, [], [])).toHaveLength(10);
});

test("the curves of many classes are those of the lowest accuracy, in the order of the classes", () => {
  const accuracies = Array.from({ length: 12 }, (_, index) => 1 - index / 100);
  expect(lowestClasses(accuracies, 12)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  expect(lowestClasses([], 3)).toEqual([0, 1, 2]);
});
