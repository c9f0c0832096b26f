// Each class's probability for the selected image, by epoch.

import { batch, effect, signal, type ReadonlySignal } from "@preact/signals";
import { getJson } from "../api/client";
import type { Scores } from "../api/types";
import { ranges } from "../maps/reel";

const AT_ONCE = 200; // epochs
const PAUSE = 30; // ms

export interface FollowedScores {
  classes: ReadonlySignal<string[]>;
  label: ReadonlySignal<number | null>; // the image's own class
  /** One number a class, or undefined until they are here. */
  at: (image: string | null, epoch: number) => Probabilities | undefined;
  close: () => void;
}

/** One number a class; null where a network's scores are not finite. */
type Probabilities = (number | null)[];

/** The class of the highest probability; -1 where none is a number. */
export function mostLikely(probabilities: Probabilities): number {
  const numbers = probabilities.filter((value) => value !== null);
  return numbers.length ? probabilities.indexOf(Math.max(...numbers)) : -1;
}

export function followScores(
  runId: number, chosen: ReadonlySignal<string | null>, image: ReadonlySignal<string | null>,
  epoch: ReadonlySignal<number>, last: ReadonlySignal<number>,
): FollowedScores {
  const known = signal(new Map<string, Probabilities>());
  const classes = signal<string[]>([]);
  const label = signal<number | null>(null);

  const close = effect(() => {
    const reference = image.value;
    const at = epoch.value;
    if (!reference || last.value < 0 || at > last.value || known.peek().has(`${reference} ${at}`)) return;
    // A block around the epoch: scrubbing on asks for nothing.
    const from = Math.max(0, at - AT_ONCE / 2);
    const wanted = Array.from({ length: AT_ONCE }, (_, i) => from + i)
      .filter((e) => e <= last.value && (e === at || !known.peek().has(`${reference} ${e}`)));
    if (!known.peek().size) return void read(reference, chosen.peek() || last.value >= AT_ONCE ? wanted : null);
    // Not for each epoch that is scrubbed past.
    const asked = setTimeout(() => void read(reference, wanted), PAUSE);
    return () => clearTimeout(asked);
  });

  /** Of the image at those epochs; null: of the run's first probe at all epochs, as it opens. */
  async function read(reference: string, epochs: number[] | null) {
    try {
      const answer = await getJson<Scores>(`/runs/${runId}/scores`, epochs ? { image: reference, epochs: ranges(epochs) } : {});
      const next = new Map(known.peek());
      answer.epochs.forEach((e, i) => next.set(`${reference} ${e}`, answer.probabilities[i]!));
      batch(() => {
        classes.value = answer.classes;
        label.value = answer.label;
        known.value = next;
      });
    } catch {
      // The maps say what is wrong with the run or the service; without scores this stays empty.
    }
  }

  return { classes, label, at: (reference, e) => known.value.get(`${reference} ${e}`), close };
}
