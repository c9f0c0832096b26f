import { expect, test } from "vitest";
import { formatEpochs } from "../src/api/epochs";

test.each([
  [[4], "4"],
  [[4, 9], "4,9"],
  [[0, 1, 2, 3], "0:3:1"],
  [[0, 5, 10], "0:10:5"],
  [[0, 5, 10, 12], "0,5,10,12"],
])("formatEpochs(%j) is %j", (epochs, text) => {
  expect(formatEpochs(epochs)).toBe(text);
});
