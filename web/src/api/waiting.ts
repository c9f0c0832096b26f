// What the page waits for: whether anything that it asked for is still on its way.

const QUIET = 100; // ms

let going = 0;
let waiting: (() => void)[] = [];

/** Counts that work as on its way until it is done. */
export async function onItsWay<T>(work: Promise<T>): Promise<T> {
  going++;
  try {
    return await work;
  } finally {
    going--;
    // Not at once: one answer often is the reason to ask for the next.
    if (!going) setTimeout(tell);
  }
}

function tell(): void {
  if (going) return;
  const told = waiting;
  waiting = [];
  for (const act of told) act();
}

/** Until all that was asked for, and what was asked for because of it, is here or has failed. */
export function answered(): Promise<void> {
  return going ? new Promise((done) => waiting.push(done)) : Promise.resolve();
}

/** Until nothing has been asked for some time: for what is not needed to see the page. */
export async function quiet(): Promise<void> {
  do await pause(QUIET);
  while (going);
}

export const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));
