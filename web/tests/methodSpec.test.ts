import { expect, test } from "vitest";
import {
  formatMethodSpec,
  isAllowed,
  methodParameters,
  methodSpecParameters,
  parameterValue,
  parseMethodSpec,
  withParameter,
} from "../src/maps/methodSpec";

const DEFAULTS = { target: undefined, contrastClass: undefined, query: "" };

test.each([
  ["proposed", { method: "proposed" }],
  ["layer-cam/margin", { method: "layer-cam", target: "margin" }],
  ["layer-cam/contrast:3", { method: "layer-cam", target: "contrast", contrastClass: "3" }],
  ["smooth-grad?samples=4", { method: "smooth-grad", query: "samples=4" }],
  ["ss-cam/unit?noise=0.5&seed=1", { method: "ss-cam", target: "unit", query: "noise=0.5&seed=1" }],
])("%s is parsed and formatted", (text, spec) => {
  expect(parseMethodSpec(text)).toEqual({ ...DEFAULTS, ...spec });
  expect(formatMethodSpec({ ...DEFAULTS, ...spec })).toBe(text);
});

test("parameters are query parameters of the API", () => {
  expect(methodSpecParameters("ss-cam/contrast:3?noise=0.5&seed=1")).toEqual({
    method: "ss-cam",
    target: "contrast",
    contrast_class: "3",
    noise: "0.5",
    seed: "1",
  });
});

const SAMPLES = { type: "integer", default: 16, exclusiveMinimum: 0, maximum: 512 };
const NOISE = { type: "number", default: 2, exclusiveMinimum: 0, maximum: 10 };

test("a changed parameter is in the spec unless it is the default", () => {
  const spec = parseMethodSpec("ss-cam/unit?seed=1");
  expect(parameterValue(spec, "samples", SAMPLES)).toBe("16");
  const changed = withParameter(withParameter(spec, "samples", "4", SAMPLES), "noise", "0.5", NOISE);
  expect(formatMethodSpec(changed)).toBe("ss-cam/unit?noise=0.5&samples=4&seed=1");
  expect(parameterValue(changed, "samples", SAMPLES)).toBe("4");
  expect(formatMethodSpec(withParameter(changed, "samples", "16", SAMPLES))).toBe("ss-cam/unit?noise=0.5&seed=1");
});

test("bounds of whole numbers are inclusive", () => {
  const parameters = { parameters: { properties: { samples: SAMPLES, noise: NOISE } } };
  const samples = { type: "integer", default: 16, minimum: 1, maximum: 512 };
  expect(methodParameters(parameters)).toEqual([
    ["samples", samples],
    ["noise", NOISE],
  ]);
});

test("a parameter is a number within its bounds", () => {
  const allowed = (schema: object) => (text: string) => isAllowed(schema, text);
  expect(["1", "512", " 7 "].map(allowed(SAMPLES))).toEqual([true, true, true]);
  expect(["", "0", "513", "1.5", "many", "-3"].map(allowed(SAMPLES))).toEqual(Array(6).fill(false));
  expect(["0.1", "10"].map(allowed(NOISE))).toEqual([true, true]);
  expect(["0", "10.1", "NaN", "Infinity"].map(allowed(NOISE))).toEqual(Array(4).fill(false));
});
