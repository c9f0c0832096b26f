import { beforeEach, expect, test } from "vitest";
import type { FieldError } from "../src/api/types";
import { language, t } from "../src/text";
import { fieldErrorText } from "../src/text/fieldErrors";
import { problemText } from "../src/text/problems";

const NUMBER = { type: "integer", minimum: 1, maximum: 10_000 };

const error = (type: string, allowed: FieldError["allowed"], more: Partial<FieldError> = {}): FieldError => ({
  field: "field",
  message: "the service's words",
  type,
  allowed: allowed ?? {},
  ...more,
});

beforeEach(() => {
  language.value = "en";
});

test.each<[FieldError, english: string, japanese: string]>([
  [
    error("greater_than_equal", NUMBER),
    "Enter a whole number from 1 to 10,000.",
    "1 ～ 10,000 の整数を入力してください。",
  ],
  [error("int_type", NUMBER), "Enter a whole number from 1 to 10,000.", "1 ～ 10,000 の整数を入力してください。"],
  [
    error("less_than_equal", { type: "number", exclusiveMinimum: 0, maximum: 100 }),
    "Enter a number greater than 0 and at most 100.",
    "0 より大きく 100 以下の数値を入力してください。",
  ],
  [
    error("less_than", { type: "number", minimum: 0, exclusiveMaximum: 1 }),
    "Enter a number of at least 0 and less than 1.",
    "0 以上 1 未満の数値を入力してください。",
  ],
  [
    error("too_short", { type: "array", minItems: 2, maxItems: 2 }),
    "Enter exactly 2 values.",
    "値をちょうど 2 個入力してください。",
  ],
  [error("too_long", { type: "array", maxItems: 1 }), "Enter at most 1 value.", "値は 1 個までです。"],
  [error("literal_error", { enum: ["a", "b"] }), "Choose one of: a, b.", "次のいずれかを選んでください：a, b。"],
  [
    error("string_too_long", { type: "string", maxLength: 200 }),
    "Enter at most 200 characters.",
    "200 文字以内で入力してください。",
  ],
  [
    error("greater_than_equal", NUMBER, { field: "field.1" }),
    "Value 2: Enter a whole number from 1 to 10,000.",
    "2 番目の値：1 ～ 10,000 の整数を入力してください。",
  ],
  [
    error("probe_count", NUMBER, { context: { total: 1001, maximum: 1000 } }),
    "These settings ask for 1,001 probe images. Choose 1 to 1,000.",
    "この設定ではプローブ画像が 1,001 枚になります。1 ～ 1,000 枚にしてください。",
  ],
  [error("invalid_value", {}), "the service's words", "the service's words"],
])("an error's type and bounds become a sentence in both languages", (fieldError, english, japanese) => {
  expect(fieldErrorText("field", fieldError)).toBe(english);
  language.value = "ja";
  expect(fieldErrorText("field", fieldError)).toBe(japanese);
});

test("a problem is told in the page's language", () => {
  const problem = { type: "run-not-found", title: "Run not found", status: 404, detail: "There is no run 9." };
  expect(problemText(problem)).toBe("There is no run 9.");
  language.value = "ja";
  expect(problemText(problem)).toBe("その実行はありません。");
  expect(problemText({ title: "Bad gateway", status: 502 })).toBe("Bad gateway");
});

test("one of something has its own form", () => {
  expect(t("reel.all", { total: 1 })).toBe("Showing the only epoch");
  expect(t("reel.all", { total: 2 })).toBe("Showing all 2 epochs");
  expect(t("run.progress", { done: 1, total: 1 })).toBe("1 of 1 epoch");
});
