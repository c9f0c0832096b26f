import type { AtlasRow } from "../api/types";
import { t } from "../text";
import { imageName } from "./imageName";
import { Thumbnail } from "./Thumbnail";

interface Props {
  row: AtlasRow;
  runId: number;
  method: number;
  isPair: boolean; // two methods are shown
  isByClass: boolean; // rows are the classes of one image
  isFirst: boolean; // of the pair
}

/** The label of a line: its image and class on the first line of a pair, and its method if two are shown. */
export function RowLabel({ row, runId, method, isPair, isByClass, isFirst }: Props) {
  const className = t("row.class", { name: row.class_name });
  return (
    <>
      {isFirst ? <Thumbnail runId={runId} image={row.image} /> : <span class="no-image" />}
      {isFirst && (
        <span class="row-name" aria-hidden="true">
          {isByClass ? className : row.class_name}
        </span>
      )}
      <span class="visually-hidden">
        {imageName(row.image)}, {className}
      </span>
      {isPair && <span class={`method ${method ? "b" : "a"}`}>{method ? "B" : "A"}</span>}
    </>
  );
}
