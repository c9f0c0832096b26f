// Counts the requests in flight, so that the page can wait until its first answers have arrived.

const IDLE_MS = 100;

let inFlight = 0;
let waiters: (() => void)[] = [];

/** Counts a promise as in flight until it settles. */
export async function trackRequest<T>(request: Promise<T>): Promise<T> {
  inFlight++;
  try {
    return await request;
  } finally {
    inFlight--;
    // In a later task: an answer is often the reason to send the next request.
    if (!inFlight) setTimeout(notifyWaiters);
  }
}

function notifyWaiters(): void {
  if (inFlight) return;
  const resolved = waiters;
  waiters = [];
  for (const resolve of resolved) resolve();
}

/** Resolves when all requests in flight, and those that their answers caused, have succeeded or failed. */
export function requestsSettled(): Promise<void> {
  return inFlight ? new Promise((resolve) => waiters.push(resolve)) : Promise.resolve();
}

/** Resolves when no request has been in flight for a while: for data that the first view does not need. */
export async function networkIdle(): Promise<void> {
  do await delay(IDLE_MS);
  while (inFlight);
}

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
