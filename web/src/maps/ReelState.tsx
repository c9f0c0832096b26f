import { Failure } from "../components/Failure";
import { t } from "../text";
import { specTitle } from "./methodTitles";
import type { Reel } from "./reel";

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
  const texts = reels.flatMap(({ version, predecessor, selection, method }) => {
    void version.value;
    if (!predecessor || predecessor.selection.method === selection.method) return [];
    return t("reel.replacing", { method: specTitle(method), previous: specTitle(predecessor.method) });
  });
  return (
    <span class="muted" role="status">
      {[...new Set(texts)].join(" ")}
    </span>
  );
}
