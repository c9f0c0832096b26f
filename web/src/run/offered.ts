// What can be chosen of methods, the scores that they explain, and colours: as far as it is known yet.

import { batch, signal } from "@preact/signals";
import { colormaps, methods, targets } from "../api/catalogue";
import type { Colormap, Method, Target } from "../api/types";
import { pause, quiet } from "../api/waiting";
import type { View } from "./view";

const PATIENCE = 1000; // ms

export const offered = {
  methods: signal<Method[]>([]),
  targets: signal<Target[]>([]),
  colormaps: signal<Colormap[]>([]),
};

export type OfPaper = "conventional" | "proposed";

/** The paper's two, which the page has its own words for. */
export const isOfPaper = (name: string): name is OfPaper => name === "conventional" || name === "proposed";

/** Ask for it: at once where the view needs it to name its methods, else after what is to be seen first. */
export async function askWhatIsOffered(view: View): Promise<void> {
  const named = [view.methodA, view.methodB].every((one) => isOfPaper(one.peek()));
  try {
    if (named) {
      offered.colormaps.value = await colormaps(); // the maps wait for these, too
      await Promise.race([quiet(), pause(PATIENCE)]);
    }
    const [all, scores, colours] = await Promise.all([methods(), targets(), colormaps()]);
    batch(() => {
      offered.methods.value = all;
      offered.targets.value = scores;
      offered.colormaps.value = colours;
    });
  } catch {
    // Why the service refuses or does not answer is told with the run.
  }
}
