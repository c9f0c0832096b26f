import type { Run } from "../api/types";

export interface RunGroup {
  experimentId: number | null; // null: the runs are not grouped, or belong to no experiment
  members: Run[];
}

/** The runs by experiment, in the order of the first run of each; all in one group unless grouped. */
export function groupRuns(runs: Run[], isGrouped: boolean): RunGroup[] {
  if (!isGrouped) return [{ experimentId: null, members: runs }];
  const groups = new Map<number | null, Run[]>();
  for (const run of runs) groups.set(run.experiment_id, [...(groups.get(run.experiment_id) ?? []), run]);
  return [...groups].map(([experimentId, members]) => ({ experimentId, members }));
}
