// The layers that maps can be requested of.

import type { RunNetwork } from "../api/types";
import { number } from "../text";

export type NetworkLayer = RunNetwork["layers"][number];

/** The layers of a menu, from the image up. */
export interface LayerMenu {
  layers: NetworkLayer[];
  defaultLayer: string | null; // null: not known, or not the same in all runs
}

/** The layers that all networks have, as the first one has them; none without a network. */
export function commonLayers(networks: readonly RunNetwork[]): LayerMenu {
  const [first, ...others] = networks;
  if (!first) return { layers: [], defaultLayer: null };
  const namesOfOthers = others.map(({ layers }) => new Set(layers.map(({ name }) => name)));
  const hasSameDefault = others.every(({ default_layer }) => default_layer === first.default_layer);
  return {
    layers: first.layers.filter(({ name }) => namesOfOthers.every((names) => names.has(name))),
    defaultLayer: hasSameDefault ? first.default_layer : null,
  };
}

/** Whether a text, as in `conv2` or `conv1,conv2`, names only layers of the menu. */
export const hasLayers = ({ layers }: LayerMenu, text: string): boolean =>
  text.split(",").every((part) => layers.some(({ name }) => name === part));

/** Channels, rows and columns of a layer. */
export const gridText = ({ grid }: NetworkLayer): string => `${number(grid.channels)} × ${grid.height} × ${grid.width}`;
