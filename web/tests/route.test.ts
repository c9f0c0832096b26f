import { describe, expect, test } from "vitest";
import { parseRoute, updateQuery } from "../src/route";

describe.each(["", "/camreel", "/user/x/proxy/8000"])("parseRoute below %j", (root) => {
  test.each([
    ["/app", { page: "start" }],
    ["/app/", { page: "start" }],
    ["", { page: "start" }],
    ["/app?tag=paper", { page: "start" }],
    ["/app/new?from=3", { page: "new" }],
    ["/app/runs/12", { page: "run", id: 12 }],
    ["/app/runs/12/?epoch=3", { page: "run", id: 12 }],
    ["/app/compare?a=lime?samples=5&runs=3,2", { page: "compare", ids: [3, 2] }],
    ["/app/compare?runs=3,1,3,x,0,-2", { page: "compare", ids: [3, 1] }],
    ["/app/compare?runs=1,2,3,4,5,6,7", { page: "compare", ids: [1, 2, 3, 4, 5, 6] }],
    ["/app/compare", { page: "compare", ids: [] }],
    ["/app/experiments", { page: "experiments" }],
    ["/app/experiments/new?from=2", { page: "newExperiment" }],
    ["/app/experiments/7", { page: "experiment", id: 7 }],
    ["/app/experiments/0", { page: "notFound" }],
    ["/app/runs/1e3", { page: "notFound" }],
    ["/app/runs/-1", { page: "notFound" }],
    ["/app/runs/0", { page: "notFound" }],
    ["/app/runs/99999999999999999999", { page: "notFound" }],
    ["/application", { page: "notFound" }],
    ["/elsewhere/app", { page: "notFound" }],
  ])("%j", (path, route) => {
    expect(parseRoute(root + path, root)).toEqual(route);
  });
});

describe("updateQuery", () => {
  test("sets, replaces and removes parameters", () => {
    expect(updateQuery("?epoch=3&a=layer-cam", { epoch: "4", a: null, show: "a" })).toBe("epoch=4&show=a");
  });

  test("keeps references and lists readable", () => {
    expect(updateQuery("", { image: "test:7", runs: "1,2", a: "hires-cam/margin" })).toBe(
      "image=test:7&runs=1,2&a=hires-cam/margin",
    );
  });

  test("escapes what would end a value", () => {
    expect(new URLSearchParams(updateQuery("", { a: "x&y=z#?" })).get("a")).toBe("x&y=z#?");
  });
});
