// Who the page is to the service: a cookie that no script reads stands for the token shown once.

import { signal } from "@preact/signals";
import { ApiError, beforeChanges, getJson, postJson, remove, showCsrf, whenRefused } from "../api/client";

interface Answer {
  open: boolean;
  name: string;
  scope: string;
  csrf_token: string | null;
}

/** `open`: the service asks nobody, or does not answer, which every page says by itself. */
export type Session = { state: "unknown" | "open" | "out" } | { state: "in"; name: string; scope: string };

export const session = signal<Session>({ state: "unknown" });

whenRefused(() => {
  showCsrf(null);
  session.value = { state: "out" };
});

async function read(): Promise<void> {
  try {
    take(await getJson<Answer>("/session"));
  } catch (error) {
    if (!(error instanceof ApiError && error.problem.status === 401)) session.value = { state: "open" };
  }
}

let opened: Promise<void> | null = null;

/** Ask once who we are; every change waits for that. */
export function openSession(): Promise<void> {
  opened ??= read();
  return opened;
}

beforeChanges(openSession);

/** Throws ApiError, of status 401 for a token that is not good. */
export async function signIn(token: string): Promise<void> {
  take(await postJson<Answer>("/session", { token }));
}

export async function signOut(): Promise<void> {
  try {
    await remove("/session");
  } finally {
    await read();
  }
}

function take(answer: Answer): void {
  showCsrf(answer.csrf_token);
  session.value = answer.open ? { state: "open" } : { state: "in", name: answer.name, scope: answer.scope };
}
