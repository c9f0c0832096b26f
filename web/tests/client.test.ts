// Requests that overlap with a sign-in.

import { afterEach, expect, test, vi } from "vitest";
import { getJson, setCsrfToken, setUnauthorizedHandler } from "../src/api/client";

const answer = (status: number) => new Response(JSON.stringify({ status }), { status });

afterEach(() => vi.unstubAllGlobals());

test("a request that was refused before the sign-in is repeated, and does not sign out", async () => {
  const signOut = vi.fn();
  setUnauthorizedHandler(signOut);
  const fetchMock = vi
    .fn()
    .mockImplementationOnce(async () => {
      setCsrfToken("of the session that begins meanwhile");
      return answer(401);
    })
    .mockImplementation(async () => answer(200));
  vi.stubGlobal("fetch", fetchMock);
  expect(await getJson("/colormaps")).toEqual({ status: 200 });
  expect(signOut).not.toHaveBeenCalled();
});

test("a request that is refused in its own session signs out", async () => {
  const signOut = vi.fn();
  setUnauthorizedHandler(signOut);
  vi.stubGlobal(
    "fetch",
    vi.fn().mockImplementation(async () => answer(401)),
  );
  await expect(getJson("/colormaps")).rejects.toThrow();
  expect(signOut).toHaveBeenCalledOnce();
});
