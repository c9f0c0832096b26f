// The titles of methods in captions, legends and messages: those of the menus.

import { catalogue } from "../hooks/useCatalogue";
import { t } from "../text";
import { methodTitle } from "../text/methods";
import { parseMethodSpec } from "./methodSpec";
import type { Reel } from "./reel";

/**
 * The title of a method with its target and parameters, in the notation `layer-cam/margin?steps=4`, and with the layer
 * if that is not the default. Until the catalogue is loaded, its name stands for the title.
 */
export function specTitle(text: string, layer: string | null = null): string {
  const { method: name, target, contrastClass, query } = parseMethodSpec(text);
  const entry = catalogue.methods.value.find((method) => method.name === name);
  const contrast = contrastClass === undefined ? "" : t("row.class", { name: contrastClass });
  const title = methodTitle(entry ?? { name, title: name });
  const parts = [title, target, contrast, query.replaceAll("&", ", "), layer];
  return parts.filter(Boolean).join(", ");
}

/** The title of the maps of a reel. */
export const reelTitle = ({ method, selection }: Reel): string => specTitle(method, selection.layer);
