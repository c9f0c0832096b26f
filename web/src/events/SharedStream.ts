// The leading tab's event stream: one EventSource for the runs that all tabs follow.

import { address } from "../api/address";
import { type Cursors, formatCursors, type LeaderMessage, parseCursors } from "./messages";

const MAX_RUNS = 200; // of GET /events
const CONNECT_DELAY_MS = 20; // so that tabs and runs that come together cause one connection
const NUMBERED_KINDS = ["status", "epoch"];
const UNNUMBERED_KINDS = ["progress", "gone"];

export class SharedStream {
  #tabs = new Map<string, Cursors>();
  #source: EventSource | null = null;
  #received: Cursors = {}; // of the runs of the source
  #isConnected = true; // until the browser reports an error
  #timer = 0;

  constructor(private readonly emit: (message: LeaderMessage) => void) {}

  /** Sets the runs that a tab follows. */
  follow(tab: string, cursors: Cursors): void {
    if (Object.keys(cursors).length) this.#tabs.set(tab, { ...cursors });
    else this.#tabs.delete(tab);
    this.emit({ type: "connection", open: this.#isConnected, lost: false });
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#reconnectIfNeeded(), CONNECT_DELAY_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** Reconnects if the followed runs have changed, or if a tab lacks events that others have received. */
  #reconnectIfNeeded(): void {
    const cursors = this.#followedCursors();
    const ids = Object.keys(cursors).map(Number);
    const isCovered =
      ids.length === Object.keys(this.#received).length &&
      ids.every((id) => id in this.#received && cursors[id]! >= this.#received[id]!);
    if (this.#source && isCovered) return;
    this.close();
    if (ids.length) this.#connect(cursors);
  }

  /** The runs that any tab follows, each with the earliest of the tabs' cursors. */
  #followedCursors(): Cursors {
    const followed: Cursors = {};
    // If there are too many runs, the page of one run takes precedence over a list of many.
    const tabs = [...this.#tabs.values()].sort((a, b) => Object.keys(a).length - Object.keys(b).length);
    for (const cursors of tabs) {
      for (const [key, number] of Object.entries(cursors)) {
        const id = Number(key);
        if (!(id in followed) && Object.keys(followed).length >= MAX_RUNS) continue;
        followed[id] = Math.min(followed[id] ?? Infinity, number);
      }
    }
    return followed;
  }

  #connect(cursors: Cursors): void {
    this.#received = cursors;
    const params = { runs: Object.keys(cursors).join(), after: formatCursors(cursors) || null };
    const source = new EventSource(address("/events", params));
    this.#source = source;
    for (const kind of [...NUMBERED_KINDS, ...UNNUMBERED_KINDS]) {
      source.addEventListener(kind, (event) => this.#receive(kind, event as MessageEvent<string>));
    }
    source.onopen = () => this.#reportConnection(true, false);
    source.onerror = () => {
      const isLost = source.readyState === EventSource.CLOSED;
      if (isLost) this.close();
      this.#reportConnection(false, isLost);
    };
  }

  #reportConnection(open: boolean, lost: boolean): void {
    this.#isConnected = open || lost; // a lost stream is followed by a new attempt
    this.emit({ type: "connection", open, lost });
  }

  #receive(kind: string, message: MessageEvent<string>): void {
    const data = JSON.parse(message.data) as { run_id: number };
    const runId = data.run_id;
    const number = NUMBERED_KINDS.includes(kind) ? parseCursors(message.lastEventId)[runId]! : null;
    if (number !== null) {
      this.#received[runId] = number;
      for (const cursors of this.#tabs.values()) if (cursors[runId] === number - 1) cursors[runId] = number;
    }
    this.emit({ type: "event", event: { kind, runId, number, data } });
  }
}
