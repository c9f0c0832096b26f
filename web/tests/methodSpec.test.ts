import { expect, test } from "vitest";
import { formatMethodSpec, methodSpecParameters, parseMethodSpec } from "../src/maps/methodSpec";

test.each([
  ["proposed", { method: "proposed", target: undefined, query: "" }],
  ["layer-cam/margin", { method: "layer-cam", target: "margin", query: "" }],
  ["smooth-grad?samples=4", { method: "smooth-grad", target: undefined, query: "samples=4" }],
  ["ss-cam/unit?noise=0.5&seed=1", { method: "ss-cam", target: "unit", query: "noise=0.5&seed=1" }],
])("%s is parsed and formatted", (text, spec) => {
  expect(parseMethodSpec(text)).toEqual(spec);
  expect(formatMethodSpec(spec)).toBe(text);
});

test("parameters are query parameters of the API", () => {
  expect(methodSpecParameters("ss-cam/unit?noise=0.5&seed=1")).toEqual({
    method: "ss-cam",
    target: "unit",
    noise: "0.5",
    seed: "1",
  });
});
