import { address, type Params } from "./address";
import type { Problem } from "./types";
import { onItsWay } from "./waiting";

/** An answer that is not 2xx, with its problem+json; or no answer at all, with status 0. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail ?? problem.title);
  }
}

export async function getJson<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return onItsWay(send(address(path, params), { signal }).then((response) => response.json() as Promise<T>));
}

export async function getBlob(path: string, params?: Params): Promise<Blob> {
  return onItsWay(send(address(path, params), {}).then((response) => response.blob()));
}

export async function getBytes(path: string, params?: Params): Promise<Uint8Array> {
  return onItsWay(send(address(path, params), {}).then(async (response) => new Uint8Array(await response.arrayBuffer())));
}

export async function postJson<T>(path: string, body?: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  const init = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  return (await send(address(path), { method: "POST", ...init })).json();
}

export async function postBlob<T>(path: string, params: Params, body: Blob, signal?: AbortSignal): Promise<T> {
  return (await send(address(path, params), { method: "POST", body, signal })).json();
}

export async function remove(path: string): Promise<void> {
  await send(address(path), { method: "DELETE" });
}

/** Every page of a collection, in order. */
export async function getAll<T>(path: string, params: Params = {}): Promise<T[]> {
  const found: T[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: T[]; next: string | null } = await getJson(path, { limit: 200, ...params, cursor });
    found.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return found;
}

/** What changes show to prove that they come from this page; null where no cookie signs it in. */
let csrf: string | null = null;
let refused: () => void = () => {};
let known: () => Promise<void> = async () => {};

export function showCsrf(token: string | null): void {
  csrf = token;
}

/** Have that waited for before anything is changed: that token may not be here yet. */
export function beforeChanges(act: () => Promise<void>): void {
  known = act;
}

/** Have that done when the service asks who we are. */
export function whenRefused(act: () => void): void {
  refused = act;
}

async function send(url: string, init: RequestInit & { signal?: AbortSignal | undefined }): Promise<Response> {
  const { signal, ...rest } = init;
  if (rest.method) await known();
  if (rest.method && csrf) rest.headers = { ...(rest.headers as Record<string, string>), "X-CSRF-Token": csrf };
  let response: Response;
  try {
    response = await fetch(url, signal ? { ...rest, signal } : rest);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError({ title: "No answer", status: 0 });
  }
  if (response.ok) return response;
  if (response.status === 401) refused();
  throw new ApiError(await problemOf(response));
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { title: response.statusText || `HTTP ${response.status}`, status: response.status };
  }
}
