import type { Probe } from "../api/types";

/** The probes of a run. */
export interface ProbedRun {
  dataset: string;
  probes: readonly Probe[];
}

/** Probes that several runs have in common. */
export interface CommonProbes {
  dataset: string;
  probes: Probe[];
}

/**
 * The probes that most of the runs have in common, apart from runs without any; null if no two runs have one in common.
 * They are of one dataset, since the same reference in another one is another image. A run alone has its own.
 */
export function commonProbes(runs: readonly ProbedRun[]): CommonProbes | null {
  const probed = runs.filter(({ probes }) => probes.length);
  const countOf = (dataset: string, { image }: Probe) =>
    probed.filter((run) => run.dataset === dataset && run.probes.some((probe) => probe.image === image)).length;
  const counts = probed.map(({ dataset, probes }) => probes.map((probe) => countOf(dataset, probe)));
  const most = Math.max(...counts.flat());
  if (!probed.length || most < Math.min(2, probed.length)) return null;
  const first = counts.findIndex((ofRun) => ofRun.includes(most));
  const { dataset, probes } = probed[first]!;
  return { dataset, probes: probes.filter((_, index) => counts[first]![index] === most) };
}
