import { signal } from "@preact/signals";
import { address, type Params } from "./address";
import { trackRequest } from "./pending";
import type { FieldError, Problem } from "./types";

/** A response other than 2xx with its problem+json; status 0 if the service did not respond. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail ?? problem.title);
  }
}

/** Whether the service answered the last request, or has connected an event stream since. */
export const isReachable = signal(true);

export const isUnreachable = (error: Error | null): boolean => error instanceof ApiError && error.problem.status === 0;

/** Whether the error is that something does not exist, so that a retry is of no use. */
export const isNotFound = (error: Error | null): boolean => error instanceof ApiError && error.problem.status === 404;

/** The invalid values that a failure reports; none for other failures. */
export const fieldErrorsOf = (failure: Error | null): FieldError[] =>
  failure instanceof ApiError ? (failure.problem.errors ?? []) : [];

export async function getJson<T>(path: string, params?: Params, signal?: AbortSignal): Promise<T> {
  return trackRequest(send(address(path, params), { signal }).then((response) => response.json() as Promise<T>));
}

/** As `getJson`, for an answer with sentences in a language. */
export async function getSentences<T>(path: string, language: string, signal?: AbortSignal): Promise<T> {
  const response = send(address(path), { headers: { "Accept-Language": language }, signal });
  return trackRequest(response.then((body) => body.json() as Promise<T>));
}

export async function getBlob(path: string, params?: Params): Promise<Blob> {
  return trackRequest(send(address(path, params), {}).then((response) => response.blob()));
}

export async function getBytes(path: string, params?: Params, signal?: AbortSignal): Promise<Uint8Array> {
  const response = send(address(path, params), { signal });
  return trackRequest(response.then(async (body) => new Uint8Array(await body.arrayBuffer())));
}

export async function postJson<T>(path: string, body?: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  const init = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  return (await send(address(path), { method: "POST", ...init })).json();
}

export async function patchJson<T>(path: string, body: unknown): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  return (await send(address(path), { method: "PATCH", headers, body: JSON.stringify(body) })).json();
}

export async function postBlob<T>(path: string, params: Params, body: Blob, signal?: AbortSignal): Promise<T> {
  return (await send(address(path, params), { method: "POST", body, signal })).json();
}

export async function deleteResource(path: string): Promise<void> {
  await send(address(path), { method: "DELETE" });
}

/** All items of a paginated collection, in order. */
export async function getAllItems<T>(path: string, params: Params = {}): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: { items: T[]; next: string | null } = await getJson(path, { limit: 200, ...params, cursor });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null);
  return items;
}

let csrfToken: string | null = null;
let onUnauthorized: () => void = () => {};
let sessionNumber = 0; // of sign-ins and sign-outs so far
let beforeMutation: () => Promise<void> = async () => {};

/** Sets the token that mutating requests send; null without a session cookie. */
export function setCsrfToken(token: string | null): void {
  csrfToken = token;
  sessionNumber += 1;
}

/** Makes every mutating request wait for `prepare`, which sets the CSRF token. */
export function setBeforeMutation(prepare: () => Promise<void>): void {
  beforeMutation = prepare;
}

/** Sets what happens after a 401 response. */
export function setUnauthorizedHandler(handler: () => void): void {
  onUnauthorized = handler;
}

async function send(url: string, init: RequestInit & { signal?: AbortSignal | undefined }): Promise<Response> {
  const { signal, ...rest } = init;
  const startedIn = sessionNumber;
  if (rest.method) await beforeMutation();
  if (rest.method && csrfToken) {
    rest.headers = { ...(rest.headers as Record<string, string>), "X-CSRF-Token": csrfToken };
  }
  let response: Response;
  try {
    response = await fetch(url, signal ? { ...rest, signal } : rest);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    isReachable.value = false;
    throw new ApiError({ title: "No response", status: 0 });
  }
  isReachable.value = true;
  if (response.ok) return response;
  // An answer to a request from before the sign-in says nothing about the session that has begun since.
  if (response.status === 401 && startedIn !== sessionNumber && !rest.method) return send(url, init);
  if (response.status === 401) onUnauthorized();
  throw new ApiError(await readProblem(response));
}

async function readProblem(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { title: response.statusText || `HTTP ${response.status}`, status: response.status };
  }
}
