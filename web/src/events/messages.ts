// Messages between the tabs of a browser, which share one event stream.

/** By run: the number of its last received event. */
export type Cursors = Record<number, number>;

/** An event of `GET /events`; `number` is null for progress, and for runs that were deleted. */
export interface RunEvent {
  kind: string;
  runId: number;
  number: number | null;
  data: unknown;
}

export type TabMessage =
  /** All runs that the tab follows; none when it closes. */
  { type: "follow"; tab: string; cursors: Cursors };

export type LeaderMessage =
  /** From a new leader: every tab answers with a "follow" message. */
  | { type: "roll-call" }
  | { type: "event"; event: RunEvent }
  /** Also the answer to each "follow". `lost`: the browser does not reconnect; follow again. */
  | { type: "connection"; open: boolean; lost: boolean };

/** Parses `1:12,7:3`, the service's notation of cursors. */
export function parseCursors(text: string): Cursors {
  const pairs = text.split(",").filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => pair.split(":").map(Number) as [number, number]));
}

export function formatCursors(cursors: Cursors): string {
  const pairs = Object.entries(cursors).filter(([, number]) => number > 0);
  return pairs.map((pair) => pair.join(":")).join(",");
}
