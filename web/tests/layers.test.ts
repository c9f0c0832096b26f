import { expect, test } from "vitest";
import { matchingOptions } from "../src/components/optionSearch";
import { commonLayers, hasLayers } from "../src/maps/layers";

const network = (default_layer: string, ...names: string[]) => ({
  layers: names.map((name) => ({ name, grid: { channels: 8, height: 7, width: 7 } })),
  default_layer,
});

const names = (networks: ReturnType<typeof network>[]) => commonLayers(networks).layers.map(({ name }) => name);

test("the menu of several networks has the layers of all, in the order of the first", () => {
  expect(names([network("c", "a", "b", "c"), network("c", "c", "x", "a")])).toEqual(["a", "c"]);
  expect(names([])).toEqual([]);
});

test("networks with different default layers have no common one", () => {
  expect(commonLayers([network("a", "a", "b"), network("b", "a", "b")]).defaultLayer).toBeNull();
  expect(commonLayers([network("b", "a", "b"), network("b", "a", "b")]).defaultLayer).toBe("b");
});

test.each([
  ["layer2.0", true],
  ["layer2.0,conv1", true],
  ["layer9", false],
  ["layer2.0,layer9", false],
  ["layer2", false],
])("whether the menu has %s: %s", (text, expected) => {
  expect(hasLayers(commonLayers([network("layer4", "conv1", "layer2.0", "layer4")]), text)).toBe(expected);
});

test("a search finds every word in any case, and names that begin with it come first", () => {
  const options = ["Egyptian cat", "tabby", "catamaran", "tiger cat"].map((text) => ({ value: text, text }));
  const search = (query: string) => matchingOptions(options, query).map(({ text }) => text);
  expect(search("CAT")).toEqual(["catamaran", "Egyptian cat", "tiger cat"]);
  expect(search("cat  tiger")).toEqual(["tiger cat"]);
  expect(search(" ")).toHaveLength(4);
  expect(search("dog")).toEqual([]);
});
