import { expect, test } from "vitest";
import { english } from "../src/text/english";
import { japanese } from "../src/text/japanese";

test("both languages have every text, with the same slots", () => {
  const slots = (texts: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(texts).map(([name, text]) => [
        name,
        new Set([...text.matchAll(/\{(\w+)(?::[^}]*)?\}/g)].map((slot) => slot[1])),
      ]),
    );
  expect(slots(japanese)).toEqual(slots(english));
});
