import { describe, expect, test } from "vitest";
import type { Schema } from "../src/api/types";
import { differences } from "../src/compare/differences";
import { defaultDraft, parseDraft } from "../src/start/fieldValues";

describe("differences", () => {
  test("names nested settings by their path, and leaves out names, tags and what is equal", () => {
    const first = { name: "a", tags: ["x"], epochs: 5, optimizer: { name: "adam", learning_rate: 0.1 } };
    const second = { name: "b", tags: [], epochs: 5, optimizer: { name: "sgd", learning_rate: 0.1, momentum: 0.9 } };
    expect(differences([first, second])).toEqual([
      { name: "optimizer.name", values: ["adam", "sgd"] },
      { name: "optimizer.momentum", values: ["–", "0.9"] },
    ]);
  });
});

describe("a form's draft", () => {
  const schemas: Record<string, Schema> = {
    epochs: { type: "integer", default: 100 },
    channels: { type: "array", items: { type: "integer" }, default: [32, 64] },
    name: { type: "string", default: "" },
    device: { type: "string", enum: ["auto", "cpu"], default: "auto" },
    samples: { type: "integer" },
  };

  test("is read back as the values that it was made of", () => {
    const draft = defaultDraft(schemas, "run.", { epochs: 7 });
    expect(draft["run.channels"]).toBe("32, 64");
    expect(parseDraft(schemas, draft, "run.")).toEqual({ epochs: 7, channels: [32, 64], name: "", device: "auto" });
  });

  test("sends a name of an alternative as text, and other text as a list", () => {
    const names = { type: "string", enum: ["all", "head"] };
    const list = { type: "array", items: { type: "string" } };
    const trainable: Record<string, Schema> = { trainable: { anyOf: [names, list], default: "all" } };
    expect(parseDraft(trainable, defaultDraft(trainable, ""), "")).toEqual({ trainable: "all" });
    expect(parseDraft(trainable, { trainable: "layer4, fc" }, "")).toEqual({ trainable: ["layer4", "fc"] });
    const draft = defaultDraft(trainable, "", { trainable: ["layer4", "fc"] });
    expect(parseDraft(trainable, draft, "")).toEqual({ trainable: ["layer4", "fc"] });
  });

  test("sends text that is not a number as it is, so that the service names the field", () => {
    expect(parseDraft(schemas, { epochs: "many", channels: "1 x" }, "")).toEqual({
      epochs: "many",
      channels: [1, "x"],
      name: "",
    });
  });
});
