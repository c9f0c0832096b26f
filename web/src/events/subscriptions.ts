// What this tab follows, by the one event stream of the browser.

import { ROOT } from "../api/address";
import { Election } from "./Election";
import type { Cursors, LeaderMessage, RunEvent, TabMessage } from "./messages";
import { SharedStream } from "./SharedStream";

const NAME = `camreel-events ${ROOT}`;
const TAB = `${Date.now()}-${Math.random()}`; // no randomUUID: it needs a secure context
const LEADER_PATIENCE = 5000; // ms until a leader that does not answer is replaced

export interface Subscriber {
  event: (event: RunEvent) => void;
  connection: (open: boolean, lost: boolean) => void;
}

interface Subscription extends Subscriber {
  runId: number;
  number: number; // of the last event received
}

const subscriptions = new Set<Subscription>();
// Outside of a secure context there are no locks. Each tab then has a stream while it is visible.
const sharing = "locks" in navigator && "BroadcastChannel" in window;
let channel: BroadcastChannel | null = null;
let leading: SharedStream | null = null;
let joined = false;
let announcing = false;
let patience = 0;

const election = new Election(NAME, {
  begin: () => {
    clearTimeout(patience);
    leading = new SharedStream(broadcast);
    broadcast({ type: "roll-call" });
  },
  end: () => {
    leading?.close();
    leading = null;
  },
});

/** Receive a run's events after `number`, in order, each once. Returns what ends that. */
export function subscribe(runId: number, number: number, subscriber: Subscriber): () => void {
  const subscription = { runId, number, ...subscriber };
  subscriptions.add(subscription);
  if (sharing || !document.hidden) join();
  announce();
  return () => {
    if (subscriptions.delete(subscription)) announce();
  };
}

function join(): void {
  if (joined) return;
  joined = true;
  if (!sharing) {
    leading = new SharedStream(receive);
    return;
  }
  channel = new BroadcastChannel(NAME);
  channel.onmessage = ({ data }: MessageEvent<TabMessage | LeaderMessage>) => {
    if (data.type === "follow") leading?.follow(data.tab, data.cursors);
    else receive(data);
  };
  election.join();
}

/** Hold nothing while the page is not shown: another tab takes over, and the browser may keep the page. */
function leave(): void {
  if (!joined) return;
  joined = false;
  tellLeader({});
  clearTimeout(patience);
  leading?.close();
  leading = null;
  if (sharing) election.leave();
  channel?.close();
  channel = null;
}

function rejoin(): void {
  if (!subscriptions.size) return;
  join();
  announce();
}

addEventListener("pagehide", leave);
addEventListener("pageshow", rejoin);
document.addEventListener("freeze", leave);
document.addEventListener("resume", rejoin);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) rejoin();
  else if (!sharing) leave();
});

/** Tell the leader what this tab follows, once for all changes of a task. */
function announce(): void {
  if (announcing || !joined) return;
  announcing = true;
  queueMicrotask(() => {
    announcing = false;
    if (joined) tellLeader(cursors());
  });
}

function cursors(): Cursors {
  const numbers: Cursors = {};
  for (const { runId, number } of subscriptions) numbers[runId] = Math.min(numbers[runId] ?? Infinity, number);
  return numbers;
}

function tellLeader(followed: Cursors): void {
  if (leading) return leading.follow(TAB, followed);
  channel?.postMessage({ type: "follow", tab: TAB, cursors: followed } satisfies TabMessage);
  clearTimeout(patience);
  // A hidden page's own timers are late: it replaces nobody.
  if (subscriptions.size) patience = window.setTimeout(() => document.hidden || election.takeOver(), LEADER_PATIENCE);
}

function broadcast(message: LeaderMessage): void {
  channel?.postMessage(message);
  receive(message);
}

function receive(message: LeaderMessage): void {
  clearTimeout(patience);
  switch (message.type) {
    case "roll-call": return announce();
    case "event": return dispatch(message.event);
    case "connection": return reportConnection(message.open, message.lost);
  }
}

function dispatch(event: RunEvent): void {
  for (const subscription of [...subscriptions]) {
    if (subscription.runId !== event.runId) continue;
    if (event.number !== null) {
      // Beyond the next one: something was sent before this tab followed. The leader goes back for it.
      if (event.number > subscription.number + 1) announce();
      if (event.number !== subscription.number + 1) continue;
      subscription.number = event.number;
    }
    subscription.event(event);
  }
}

/** A lost stream ends all subscriptions. */
function reportConnection(open: boolean, lost: boolean): void {
  const subscribers: Subscriber[] = [...subscriptions];
  if (lost) {
    subscriptions.clear();
    announce();
  }
  for (const subscriber of subscribers) subscriber.connection(open, lost);
}
