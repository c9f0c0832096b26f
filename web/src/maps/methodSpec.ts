import type { Schema } from "../api/types";

/** A method with its target and parameters, as in the notation `layer-cam/margin?steps=4`. */
export interface MethodSpec {
  method: string;
  target: string | undefined; // undefined: the method's default
  contrastClass: string | undefined; // index of the class d of the target `contrast`, as in `layer-cam/contrast:3`
  query: string; // parameters, without the question mark
}

export function parseMethodSpec(text: string): MethodSpec {
  const [name, query = ""] = text.split("?") as [string, string | undefined];
  const [method, targetText] = name.split("/") as [string, string | undefined];
  const [target, contrastClass] = targetText?.split(":") ?? [];
  return { method, target, contrastClass, query };
}

export function formatMethodSpec({ method, target, contrastClass, query }: MethodSpec): string {
  const targetText = contrastClass === undefined ? target : `${target}:${contrastClass}`;
  return method + (targetText ? `/${targetText}` : "") + (query ? `?${query}` : "");
}

/** The query parameters of the API for a method. */
export function methodSpecParameters(text: string): Record<string, string> {
  const { method, target, contrastClass, query } = parseMethodSpec(text);
  return {
    method,
    ...(target ? { target } : {}),
    ...(contrastClass === undefined ? {} : { contrast_class: contrastClass }),
    ...Object.fromEntries(new URLSearchParams(query)),
  };
}

/** A parameter's value as text: that of the spec, else the default. */
export const parameterValue = ({ query }: MethodSpec, name: string, schema: Schema): string =>
  new URLSearchParams(query).get(name) ?? String(schema.default ?? "");

/** The spec with another value of a parameter. Defaults are left out, and the names are in order, as in the service. */
export function withParameter(spec: MethodSpec, name: string, value: string, schema: Schema): MethodSpec {
  const params = new URLSearchParams(spec.query);
  if (Number(value) === schema.default) params.delete(name);
  else params.set(name, value);
  params.sort();
  return { ...spec, query: params.toString() };
}

/** Whether a text is a number that the schema allows. */
export function isAllowed(schema: Schema, text: string): boolean {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  const { minimum = -Infinity, maximum = Infinity, exclusiveMinimum, exclusiveMaximum } = schema;
  const isNumber = schema.type === "integer" ? Number.isInteger(value) : Number.isFinite(value);
  return (
    isNumber &&
    value >= minimum &&
    value <= maximum &&
    (exclusiveMinimum === undefined || value > exclusiveMinimum) &&
    (exclusiveMaximum === undefined || value < exclusiveMaximum)
  );
}

/** The parameters of a method, by name; bounds of whole numbers are inclusive. */
export const methodParameters = (method: { parameters: Schema }): [string, Schema][] =>
  Object.entries(method.parameters.properties ?? {}).map(([name, schema]) => [name, withInclusiveBounds(schema)]);

function withInclusiveBounds(schema: Schema): Schema {
  if (schema.type !== "integer") return schema;
  const { exclusiveMinimum, exclusiveMaximum, ...inclusive } = schema;
  if (exclusiveMinimum !== undefined) inclusive.minimum = exclusiveMinimum + 1;
  if (exclusiveMaximum !== undefined) inclusive.maximum = exclusiveMaximum - 1;
  return inclusive;
}
