// The leading tab's connection: one EventSource for the runs that any tab follows.

import { address } from "../api/address";
import { formatCursor, parseCursor, type Cursors, type LeaderMessage } from "./messages";

const MAX_RUNS = 200; // of GET /events
const SETTLE = 20; // ms: tabs and runs that come together cause one connection
const NUMBERED = ["status", "epoch"];
const UNNUMBERED = ["progress", "gone"];

export class SharedStream {
  #tabs = new Map<string, Cursors>();
  #source: EventSource | null = null;
  #sent: Cursors = {}; // by run of the source
  #connected = true; // until the browser says otherwise
  #timer = 0;

  constructor(private readonly emit: (message: LeaderMessage) => void) {}

  /** The tab follows these runs and no others. */
  follow(tab: string, cursors: Cursors): void {
    if (Object.keys(cursors).length) this.#tabs.set(tab, { ...cursors });
    else this.#tabs.delete(tab);
    this.emit({ type: "connection", open: this.#connected, lost: false });
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#update(), SETTLE);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** Reconnect where the runs are others, or a tab lacks what the others have received. */
  #update(): void {
    const wanted = this.#wanted();
    const ids = Object.keys(wanted).map(Number);
    const same = ids.length === Object.keys(this.#sent).length
      && ids.every((id) => id in this.#sent && wanted[id]! >= this.#sent[id]!);
    if (this.#source && same) return;
    this.close();
    if (ids.length) this.#open(wanted);
  }

  #wanted(): Cursors {
    const wanted: Cursors = {};
    // Where they are too many: a page of one run before a list of many.
    const tabs = [...this.#tabs.values()].sort((a, b) => Object.keys(a).length - Object.keys(b).length);
    for (const cursors of tabs) {
      for (const [key, number] of Object.entries(cursors)) {
        const id = Number(key);
        if (id in wanted || Object.keys(wanted).length < MAX_RUNS) wanted[id] = Math.min(wanted[id] ?? Infinity, number);
      }
    }
    return wanted;
  }

  #open(cursors: Cursors): void {
    this.#sent = cursors;
    const source = new EventSource(address("/events", { runs: Object.keys(cursors).join(), after: formatCursor(cursors) || null }));
    this.#source = source;
    for (const kind of [...NUMBERED, ...UNNUMBERED]) {
      source.addEventListener(kind, (event) => this.#receive(kind, event as MessageEvent<string>));
    }
    source.onopen = () => this.#report(true, false);
    source.onerror = () => {
      const lost = source.readyState === EventSource.CLOSED;
      if (lost) this.close();
      this.#report(false, lost);
    };
  }

  #report(open: boolean, lost: boolean): void {
    this.#connected = open || lost; // the next attempt is a new one
    this.emit({ type: "connection", open, lost });
  }

  #receive(kind: string, message: MessageEvent<string>): void {
    const data = JSON.parse(message.data) as { run_id: number };
    const number = NUMBERED.includes(kind) ? parseCursor(message.lastEventId)[data.run_id]! : null;
    if (number !== null) {
      this.#sent[data.run_id] = number;
      for (const cursors of this.#tabs.values()) if (cursors[data.run_id] === number - 1) cursors[data.run_id] = number;
    }
    this.emit({ type: "event", event: { kind, runId: data.run_id, number, data } });
  }
}
