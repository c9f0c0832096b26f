// Why a reel has no map.

import { failureMessage } from "../components/Failure";
import { t } from "../text";
import type { Reel } from "./reel";

/** Why a row has no map at an epoch: it is still loading, or it cannot be shown. */
export function missingReason(reel: Reel, key: string, epoch: number): string {
  const failure = reel.failure.value;
  if (failure) return t("reel.failed", { message: failureMessage(failure) });
  return reel.isAbsent(epoch) ? t("reel.damaged") : (unavailableReason(reel, key) ?? t("loading"));
}

/** Why a row has no maps at all, in a few words; null if they are loaded or may still come. */
export function unavailableReason(reel: Reel, key: string): string | null {
  if (!reel.rows.length) return reel.failure.value && t("reel.unavailable");
  return reel.has(key) ? null : t("reel.contrast");
}
