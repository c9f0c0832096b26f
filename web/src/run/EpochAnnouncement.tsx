import { t } from "../text";
import { imageName } from "./imageName";
import type { RunModel } from "./useRunModel";

/** The state of the selected maps as text, which screen readers announce when the epoch changes. */
export function EpochAnnouncement({ model }: { model: RunModel }) {
  return (
    <p class="visually-hidden" role="status" aria-live="polite">
      {model.cursor.isPlaying.value ? "" : announcement(model)}
    </p>
  );
}

function announcement({ previews, row, cursor }: RunModel): string {
  if (!row.value) return "";
  const { image, class_name: name } = row.value;
  const maps = previews.value
    .slice(0, -1) // the last one shows one of the others in another style
    .map(({ title, map, missing }) => `${title}: ${map && !map.isOutdated ? t(`blank.${map.cell.blank}`) : missing}`);
  const selection = [t("scrubber.at", { epoch: cursor.epoch.value }), imageName(image), t("row.class", { name })];
  return [selection.join(", "), ...maps].join(". ");
}
