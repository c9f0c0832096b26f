// What can be chosen of methods and of the scores that they explain: as far as it is known yet.

import { batch, signal } from "@preact/signals";
import { methods, targets } from "../api/catalogue";
import type { Method, Target } from "../api/types";
import { pause, quiet } from "../api/waiting";
import { loadTables } from "../maps/colours";
import type { View } from "./view";

const PATIENCE = 1000; // ms

export const offered = {
  methods: signal<Method[]>([]),
  targets: signal<Target[]>([]),
};

export type OfPaper = "conventional" | "proposed";

/** The paper's two, which the page has its own words for. */
export const isOfPaper = (name: string): name is OfPaper => name === "conventional" || name === "proposed";

/** Ask for it and for the colours: at once where the view needs it to name its methods, else after what is to be seen first. */
export async function askWhatIsOffered(view: View): Promise<void> {
  const named = [view.methodA, view.methodB].every((one) => isOfPaper(one.peek()));
  try {
    const coloured = loadTables();
    if (named) {
      await coloured;
      await Promise.race([quiet(), pause(PATIENCE)]);
    }
    const [all, scores] = await Promise.all([methods(), targets(), coloured]);
    batch(() => {
      offered.methods.value = all;
      offered.targets.value = scores;
    });
  } catch {
    // Why the service refuses or does not answer is told with the run.
  }
}
