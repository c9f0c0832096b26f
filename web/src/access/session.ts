// The page's session: an HttpOnly cookie that the service sets in exchange for a token.

import { signal } from "@preact/signals";
import {
  ApiError,
  deleteResource,
  getJson,
  postJson,
  setBeforeMutation,
  setCsrfToken,
  setUnauthorizedHandler,
} from "../api/client";

interface SessionAnswer {
  open: boolean;
  name: string;
  scope: string;
  csrf_token: string | null;
}

/** `open`: the service requires no token, or does not respond, which every page reports by itself. */
export type Session = { state: "unknown" | "open" | "signedOut" } | { state: "signedIn"; name: string; scope: string };

export type Scope = "read" | "run" | "admin"; // each includes those before it

const SCOPES: readonly string[] = ["read", "run", "admin"] satisfies Scope[];

export const session = signal<Session>({ state: "unknown" });

/** Whether the session may do what requires the scope. A service without tokens, or an unknown session, may all. */
export function hasScope(scope: Scope): boolean {
  const current = session.value;
  return current.state !== "signedIn" || SCOPES.indexOf(current.scope) >= SCOPES.indexOf(scope);
}

setUnauthorizedHandler(() => {
  setCsrfToken(null);
  session.value = { state: "signedOut" };
});

async function fetchSession(): Promise<void> {
  try {
    applySession(await getJson<SessionAnswer>("/session"));
  } catch (error) {
    if (!(error instanceof ApiError && error.problem.status === 401)) session.value = { state: "open" };
  }
}

let opening: Promise<void> | null = null;

/** Fetches the session once; every mutating request waits for it. */
export function openSession(): Promise<void> {
  opening ??= fetchSession();
  return opening;
}

setBeforeMutation(openSession);

/** Throws ApiError with status 401 if the token is invalid, expired or revoked. */
export async function signIn(token: string): Promise<void> {
  applySession(await postJson<SessionAnswer>("/session", { token }));
}

export async function signOut(): Promise<void> {
  try {
    await deleteResource("/session");
  } finally {
    await fetchSession();
  }
}

function applySession({ open, name, scope, csrf_token }: SessionAnswer): void {
  setCsrfToken(csrf_token);
  session.value = open ? { state: "open" } : { state: "signedIn", name, scope };
}
