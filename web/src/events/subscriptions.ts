// The runs that this tab follows through the browser's one event stream.

import { ROOT } from "../api/address";
import { Election } from "./Election";
import type { Cursors, LeaderMessage, RunEvent, TabMessage } from "./messages";
import { SharedStream } from "./SharedStream";

const CHANNEL_NAME = `camreel-events ${ROOT}`;
const TAB_ID = `${Date.now()}-${Math.random()}`; // not randomUUID, which needs a secure context
const LEADER_TIMEOUT_MS = 5000; // after which a leader that does not respond is replaced

export interface Subscriber {
  event: (event: RunEvent) => void;
  connection: (open: boolean, lost: boolean) => void;
}

interface Subscription extends Subscriber {
  runId: number;
  number: number; // of the last received event
}

const subscriptions = new Set<Subscription>();
// Without a secure context there are no locks; each tab then has its own stream while it is visible.
const canShare = "locks" in navigator && "BroadcastChannel" in window;
let channel: BroadcastChannel | null = null;
let ownStream: SharedStream | null = null; // while this tab is the leader
let hasJoined = false;
let isAnnouncing = false;
let leaderTimer = 0;

const election = new Election(CHANNEL_NAME, {
  begin: () => {
    clearTimeout(leaderTimer);
    ownStream = new SharedStream(broadcast);
    broadcast({ type: "roll-call" });
  },
  end: () => {
    ownStream?.close();
    ownStream = null;
  },
});

/** Receives a run's events after `number`, in order, each once. Returns a function that unsubscribes. */
export function subscribe(runId: number, number: number, subscriber: Subscriber): () => void {
  const subscription = { runId, number, ...subscriber };
  subscriptions.add(subscription);
  if (canShare || !document.hidden) join();
  announce();
  return () => {
    if (subscriptions.delete(subscription)) announce();
  };
}

function join(): void {
  if (hasJoined) return;
  hasJoined = true;
  if (!canShare) {
    ownStream = new SharedStream(receive);
    return;
  }
  channel = new BroadcastChannel(CHANNEL_NAME);
  channel.onmessage = ({ data }: MessageEvent<TabMessage | LeaderMessage>) => {
    if (data.type === "follow") ownStream?.follow(data.tab, data.cursors);
    else receive(data);
  };
  election.join();
}

/** Closes everything while the page is not shown: another tab takes over, and the browser may cache the page. */
function leave(): void {
  if (!hasJoined) return;
  hasJoined = false;
  sendToLeader({});
  clearTimeout(leaderTimer);
  ownStream?.close();
  ownStream = null;
  if (canShare) election.leave();
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
  else if (!canShare) leave();
});

/** Sends the followed runs to the leader, once for all changes of a task. */
function announce(): void {
  if (isAnnouncing || !hasJoined) return;
  isAnnouncing = true;
  queueMicrotask(() => {
    isAnnouncing = false;
    if (hasJoined) sendToLeader(followedCursors());
  });
}

function followedCursors(): Cursors {
  const cursors: Cursors = {};
  for (const { runId, number } of subscriptions) cursors[runId] = Math.min(cursors[runId] ?? Infinity, number);
  return cursors;
}

function sendToLeader(cursors: Cursors): void {
  if (ownStream) {
    ownStream.follow(TAB_ID, cursors);
    return;
  }
  channel?.postMessage({ type: "follow", tab: TAB_ID, cursors } satisfies TabMessage);
  clearTimeout(leaderTimer);
  if (subscriptions.size) leaderTimer = window.setTimeout(replaceLeader, LEADER_TIMEOUT_MS);
}

/** Becomes the leader. Not while the page is hidden, since the timers of hidden pages are delayed. */
function replaceLeader(): void {
  if (!document.hidden) election.takeOver();
}

function broadcast(message: LeaderMessage): void {
  channel?.postMessage(message);
  receive(message);
}

function receive(message: LeaderMessage): void {
  clearTimeout(leaderTimer);
  if (message.type === "roll-call") announce();
  else if (message.type === "event") dispatch(message.event);
  else reportConnection(message.open, message.lost);
}

function dispatch(event: RunEvent): void {
  for (const subscription of [...subscriptions]) {
    if (subscription.runId !== event.runId) continue;
    if (event.number !== null) {
      // A gap: events were sent before this tab followed the run. The leader reconnects to receive them again.
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
