import type { View } from "../hooks/useView";
import { styleTable } from "../maps/colors";
import { loadedImages } from "../maps/images";
import type { ColorTable } from "../maps/pixels";
import { STRONGEST_PEAK, WEAKEST_PEAK } from "../maps/strength";
import { t } from "../text";

const CAUSES = ["saturated", "all-negative", "dead", "not-finite"] as const;
const GRADIENT_STOPS = 9;

/** What the colors and the hatchings mean. */
export function Legend({ view }: { view: View }) {
  const isSigned = view.style.value === "signed";
  const isOverlay = view.style.value === "overlay";
  const table = styleTable(view.style.value, view.colormap.value);
  void loadedImages.value;
  const causes = CAUSES.filter((cause) => !isSigned || cause === "not-finite");
  return (
    <div class="legend">
      <span>{isSigned ? t("legend.against") : "0"}</span>
      <span class="ramp" style={{ background: cssBackground(table, isOverlay ? view.opacity.value : null) }} />
      <span>{isSigned ? t("legend.for") : t("legend.peak")}</span>
      <span title={t("legend.strength.help")} class="cause">
        <i class="strength" />
        {t("legend.strength", { weakest: String(WEAKEST_PEAK), strongest: STRONGEST_PEAK })}
      </span>
      {causes.map((cause) => (
        <span key={cause} class="cause" title={t(`blank.${cause}.help`)}>
          <i class={`swatch ${cause}`} />
          {t(`blank.${cause}`)}
        </span>
      ))}
    </div>
  );
}

/** The colors from left to right; those of an overlay fade, and lie over white above black. */
function cssBackground(table: ColorTable, opacity: number | null): string {
  const stops = Array.from({ length: GRADIENT_STOPS }, (_, i) => {
    const share = i / (GRADIENT_STOPS - 1);
    const pixel = table[Math.min(255, share * 256)]!;
    const alpha = opacity === null ? 1 : opacity * Math.sqrt(share);
    return `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255} / ${alpha})`;
  });
  const colors = `linear-gradient(90deg, ${stops.join(", ")})`;
  return opacity === null ? colors : `${colors}, linear-gradient(#fff 50%, #000 50%)`;
}
