import { describe, expect, test } from "vitest";
import { commonProbes } from "../src/compare/commonProbes";
import { mergeRows } from "../src/maps/rowMaps";

const row = (image: string, class_index: number) => ({ image, class_index, class_name: String(class_index), label: 0 });

describe("mergeRows", () => {
  test("has each class once, in order", () => {
    const without = (class_index: number) => [0, 1, 2].filter((c) => c !== class_index).map((c) => row("test:0", c));
    const merged = mergeRows("classes", [without(0), without(1)], []);
    expect(merged.map((r) => r.class_index)).toEqual([0, 1, 2]);
  });

  test("has each probe once, even if its class is predicted differently", () => {
    const images = ["upload:b", "test:0", "upload:a"];
    const merged = mergeRows(
      "probes",
      [
        [row("upload:a", 1), row("test:0", 0)],
        [row("upload:b", 2), row("upload:a", 3)],
      ],
      images,
    );
    expect(merged.map((r) => r.image)).toEqual(images);
  });
});

describe("commonProbes", () => {
  const run = (dataset: string, ...images: string[]) => ({
    dataset,
    probes: images.map((image) => ({ image, label: 0 })),
  });

  test("are those that most runs have", () => {
    const runs = [run("mnist", "a", "b", "c"), run("mnist", "c", "b"), run("mnist", "b", "c", "d"), run("mnist")];
    expect(commonProbes(runs)).toMatchObject({ dataset: "mnist", probes: [{ image: "b" }, { image: "c" }] });
  });

  test("are of one dataset", () => {
    const runs = [run("digits", "a"), run("mnist", "a"), run("mnist", "a", "b")];
    expect(commonProbes(runs)).toMatchObject({ dataset: "mnist", probes: [{ image: "a" }] });
    expect(commonProbes(runs.slice(0, 2))).toBeNull();
  });

  test("of one run with probes are its own", () => {
    expect(commonProbes([run("mnist"), run("digits", "a")])).toMatchObject({ dataset: "digits" });
    expect(commonProbes([run("mnist")])).toBeNull();
  });
});
