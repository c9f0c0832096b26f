import type { AtlasRow } from "../api/types";
import { t } from "../text";
import { imageName } from "./imageName";
import { Thumbnail } from "./Thumbnail";

interface Props {
  row: AtlasRow;
  dataset: string;
  method: number;
  both: boolean;
  byClass: boolean;
  first: boolean; // of a pair
}

/** What stands before a line: the image, its class, and which method's line it is. */
export function RowLabel({ row, dataset, method, both, byClass, first }: Props) {
  return (
    <>
      {first ? <Thumbnail dataset={dataset} image={row.image} /> : <span class="no-image" />}
      {first && <span class="row-name" aria-hidden="true">{byClass ? t("row.class", { name: row.class_name }) : row.class_name}</span>}
      <span class="visually-hidden">{imageName(row.image)}, {t("row.class", { name: row.class_name })}</span>
      {both && <span class={`which ${method ? "b" : "a"}`}>{method ? "B" : "A"}</span>}
    </>
  );
}
