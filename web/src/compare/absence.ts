import { hasEnded } from "../api/runEvents";
import { failureMessage } from "../components/Failure";
import type { RunFeed } from "../hooks/useRunFeed";
import { t } from "../text";
import type { CommonProbes } from "./commonProbes";

/** Why a comparison has no maps of a run for the selected probe; null if it has, or may have them soon. */
export function absenceReason(feed: RunFeed, common: CommonProbes | null, image: string | null): string | null {
  const run = feed.run.value;
  if (!run) return feed.failure.value && failureMessage(feed.failure.value);
  if (!feed.probes.value.length || !feed.epochs.value.length)
    return hasEnded(run) ? t("run.nothing") : t("compare.waiting");
  if (!common) return t("compare.noProbe");
  const dataset = run.spec?.dataset ?? ""; // as among the common probes
  if (dataset !== common.dataset) return t("compare.otherDataset", { dataset: dataset || t("run.recorded") });
  return feed.probes.value.some((probe) => probe.image === image) ? null : t("compare.lacksProbe");
}
