import { type ReadonlySignal, untracked, useComputed, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { getJson } from "../api/client";
import { networkIdle } from "../api/pending";
import type { Run, RunNetwork } from "../api/types";
import { commonLayers, type LayerMenu } from "../maps/layers";
import type { RunFeed } from "./useRunFeed";
import { useSignalLayoutEffect } from "./useSignalLayoutEffect";
import { ignoreUnknownLayers, type View } from "./useView";

/**
 * The layers that runs have in common; none until the networks of all that have epochs are loaded. Layers of the view
 * that are not among them are replaced by the default.
 */
export function useLayerMenu(view: View, feeds: readonly RunFeed[]): ReadonlySignal<LayerMenu> {
  const networks = useSignal(new Map<number, RunNetwork>());
  const requested = useRef(new Set<number>());
  // The layers of some networks are not known before epoch 0.
  const runs = useComputed(() => feeds.flatMap(({ run, epochs }) => (epochs.value.length && run.value) || []));

  const load = async ({ id }: Run) => {
    requested.current.add(id);
    try {
      // After the page's first answers, unless these depend on the layer.
      if (!view.layerA.peek() && !view.layerB.peek()) await networkIdle();
      const network = await getJson<RunNetwork>(`/runs/${id}/network`);
      networks.value = new Map(networks.peek()).set(id, network);
    } catch {
      requested.current.delete(id); // tried again with the next epoch
    }
  };
  useSignalLayoutEffect(() => {
    for (const run of runs.value) if (!requested.current.has(run.id)) void load(run);
  });
  const menu = useComputed(() => {
    const loaded = runs.value.flatMap(({ id }) => networks.value.get(id) ?? []);
    return commonLayers(loaded.length === runs.value.length ? loaded : []);
  });
  useSignalLayoutEffect(() => {
    const { value } = menu;
    if (value.layers.length) untracked(() => ignoreUnknownLayers(view, value));
  });
  return menu;
}
