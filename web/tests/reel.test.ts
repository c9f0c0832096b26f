import { beforeEach, expect, test, vi } from "vitest";
import type { Atlas } from "../src/api/types";
import { Reel } from "../src/maps/reel";
import { styledMaps } from "../src/maps/rowMaps";

const SELECTION = { runId: 1, method: "layer-cam", layer: null, rows: "probes", image: null } as const;
const ROW = { image: "test:0", class_index: 3, class_name: "3", label: 3 };

/** A response of one row of maps of 1 x 1 positions; the level of epoch e is 10 e. */
function atlas(epochs: number[]): Atlas {
  const constant = <T>(value: T): T[] => epochs.map(() => value);
  return {
    layer: "conv2",
    methods: ["layer-cam"],
    epochs,
    rows: [ROW],
    cell: { width: 1, height: 1 },
    image: { width: 1, height: 1 },
    placement: { first: 0, step: 1 },
    minimum: constant(0),
    peak: constant(1),
    blank: constant("none" as const),
  };
}

const problem = (status: number) => new Response(JSON.stringify({ title: `problem ${status}`, status }), { status });

/** Makes the service answer the request of each list of epochs with a status; 200 by default. */
function stubService(statuses: Record<string, number>): string[] {
  const requests: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    const list = new URL(url, "http://test").searchParams.get("epochs")!;
    const [first, last] = list.split(":").map(Number) as [number, number | undefined];
    const epochs =
      last === undefined ? list.split(",").map(Number) : [...Array(last - first + 1).keys()].map((i) => first + i);
    if (url.includes(".bin")) requests.push(list);
    const status = statuses[list] ?? 200;
    if (status !== 200) return problem(status);
    if (url.includes(".json")) return new Response(JSON.stringify(atlas(epochs)));
    return new Response(Uint8Array.from(epochs, (epoch) => 10 * epoch));
  });
  return requests;
}

beforeEach(() => {
  vi.stubGlobal("document", { querySelectorAll: () => [] });
  vi.stubGlobal("location", { href: "http://test/" });
});

const loaded = (reel: Reel) => vi.waitFor(() => expect(reel.isBusy.value).toBe(false));

test("epochs whose checkpoints are damaged are absent, and the others are loaded", async () => {
  const requests = stubService({ "0:3:1": 410 });
  const reel = new Reel(SELECTION);
  reel.request([0, 1, 2, 3, 4, 5]);
  await loaded(reel);
  expect(requests).toEqual(["0:3:1", "4,5"]);
  expect([0, 4].map((epoch) => reel.isAbsent(epoch))).toEqual([true, false]);
  expect(reel.cell("test:0", 5)!.levels).toEqual(Uint8Array.of(50));
  expect(reel.failure.value).toBeNull();
});

test("if no epoch has a usable checkpoint, that is the failure", async () => {
  stubService({ "0,1": 410 });
  const reel = new Reel(SELECTION);
  reel.request([0, 1]);
  await loaded(reel);
  expect(reel.failure.value!.message).toBe("problem 410");
});

test("a refused request is repeated on demand alone", async () => {
  const statuses: Record<string, number> = { "0:3:1": 422 };
  const requests = stubService(statuses);
  const reel = new Reel(SELECTION);
  reel.request([0, 1, 2, 3, 4]);
  await loaded(reel);
  expect(reel.failure.value!.message).toBe("problem 422");
  reel.request([4]);
  await loaded(reel);
  expect(requests).toEqual(["0:3:1"]);
  delete statuses["0:3:1"];
  reel.retry();
  await vi.waitFor(() => expect(reel.cell("test:0", 4)).not.toBeNull());
  expect(reel.cell("test:0", 0)).not.toBeNull();
  expect(reel.failure.value).toBeNull();
});

test("a request that the service could not answer is repeated with the next one", async () => {
  const statuses: Record<string, number> = { "0": 503 };
  stubService(statuses);
  const reel = new Reel(SELECTION);
  reel.request([0]);
  await loaded(reel);
  expect(reel.failure.value).not.toBeNull();
  statuses["0"] = 200;
  reel.request([0]);
  await vi.waitFor(() => expect(reel.cell("test:0", 0)).not.toBeNull());
  expect(reel.failure.value).toBeNull();
});

test.each([{ method: "grad-cam" }, { layer: "conv1" }])(
  "maps before a change to %o are outdated until its own are loaded",
  async (change) => {
    stubService({});
    const predecessor = new Reel(SELECTION);
    predecessor.request([0, 1]);
    await loaded(predecessor);
    const reel = new Reel({ ...SELECTION, ...change }, predecessor);
    const style = { style: "heatmap", table: new Uint32Array(256), scale: null, opacity: 1 } as const;
    const mapAt = () => styledMaps(reel, "test:0", () => style);
    expect(mapAt()(1)).toMatchObject({ isOutdated: true });
    reel.request([0]);
    await loaded(reel);
    expect(mapAt()(0)).toMatchObject({ isOutdated: false });
    expect(mapAt()(1)).toBeNull();
  },
);
