// What the tabs of a browser tell each other about the one event stream that they share.

/** By run: the number of the last event received of it. */
export type Cursors = Record<number, number>;

/** An event of `GET /events`; `number` is null for progress and for runs that are gone. */
export interface RunEvent {
  kind: string;
  runId: number;
  number: number | null;
  data: unknown;
}

export type TabMessage =
  /** All that the tab follows now; nothing, when it closes. */
  { type: "follow"; tab: string; cursors: Cursors };

export type LeaderMessage =
  /** From a new leader: every tab tells it what it follows. */
  | { type: "roll-call" }
  | { type: "event"; event: RunEvent }
  /** Also the answer to each "follow". `lost`: the browser does not reconnect; follow anew. */
  | { type: "connection"; open: boolean; lost: boolean };

/** `1:12,7:3`, as the service writes it. */
export function parseCursor(text: string): Cursors {
  const pairs = text.split(",").filter(Boolean).map((pair) => pair.split(":").map(Number) as [number, number]);
  return Object.fromEntries(pairs);
}

export function formatCursor(cursors: Cursors): string {
  return Object.entries(cursors).filter(([, number]) => number > 0).map((pair) => pair.join(":")).join(",");
}
