// The titles of methods in captions, legends and messages: those of the menus.

import { catalogue } from "../hooks/useCatalogue";
import { t } from "../text";
import { methodTitle } from "../text/methods";
import { parseMethodSpec } from "./methodSpec";

/**
 * The title of a method with its target and parameters, in the notation `layer-cam/margin?steps=4`. Until the catalogue
 * is loaded, its name stands for the title.
 */
export function specTitle(text: string): string {
  const { method: name, target, contrastClass, query } = parseMethodSpec(text);
  const entry = catalogue.methods.value.find((method) => method.name === name);
  const contrast = contrastClass === undefined ? "" : t("row.class", { name: contrastClass });
  const parts = [methodTitle(entry ?? { name, title: name }), target, contrast, query.replaceAll("&", ", ")];
  return parts.filter(Boolean).join(", ");
}
