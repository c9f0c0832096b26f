import { Failure } from "../components/Failure";
import { t } from "../text";
import { reelTitle } from "./methodTitles";
import { hasSameMethod, type Reel } from "./reel";

/** Why the maps of a reel are not loaded, under the name that it has on the page; nothing if they are. */
export function ReelFailure({ reel, name }: { reel: Reel; name: string }) {
  const { value: failure } = reel.failure;
  if (!failure) return null;
  return (
    <div class="reel-failure">
      <b>{name}</b>
      <Failure error={failure} retry={reel.retry} />
    </div>
  );
}

/** Which maps of the reels are being replaced, if any. */
export function ReplacementNote({ reels }: { reels: readonly Reel[] }) {
  const texts = reels.flatMap((reel) => {
    const { version, predecessor, selection } = reel;
    void version.value;
    if (!predecessor || hasSameMethod(predecessor.selection, selection)) return [];
    return t("reel.replacing", { method: reelTitle(reel), previous: reelTitle(predecessor) });
  });
  return (
    <span class="muted" role="status">
      {[...new Set(texts)].join(" ")}
    </span>
  );
}
