// The page of a run is first rendered with all its first answers, if they arrive soon: to render it without them, and
// again with each, takes a browser longer than to wait.

import { signal } from "@preact/signals";
import { delay, requestsSettled } from "./api/pending";

const MAX_WAIT_MS = 250;

/** Whether the page can be rendered: its first answers have arrived, or took too long. */
export const firstAnswersArrived = signal(false);

/** Sets `firstAnswersArrived` once the requests in flight have settled, or after a quarter of a second. */
export async function openWhenSettled(): Promise<void> {
  await Promise.race([requestsSettled(), delay(MAX_WAIT_MS)]);
  firstAnswersArrived.value = true;
}
