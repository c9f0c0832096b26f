import { batch, type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { AtlasRow } from "../api/types";
import { elementNear, type Selection } from "../hooks/useSelection";
import { type View, visibleMethodIndices } from "../hooks/useView";
import type { Line } from "../maps/ReelCanvas";
import { type ClassScores, predictedClass } from "./useScores";

export interface RowSelection {
  row: ReadonlySignal<AtlasRow | null>;
  method: ReadonlySignal<number | null>; // index of the method whose line was selected; null if it is not shown
  key: ReadonlySignal<string>; // of the selected line
  select: (line: Line) => void;
  step: (rows: number) => void;
  /** Shows the maps of all classes for an image. */
  showClasses: (image: string) => void;
}

/** The key of a line of the reel. */
export const lineKey = (row: AtlasRow, method: number): string => `${row.image} ${row.class_index} ${method}`;

/** The selected row of the reel, a probe or a class of the selected image, and its method's line. */
export function useRowSelection(
  view: View,
  selection: Selection,
  rows: ReadonlySignal<AtlasRow[]>,
  scores: ClassScores,
  last: ReadonlySignal<number>,
): RowSelection {
  const selectedClass = useSignal<number | null>(null); // null: the true class, or the predicted one
  const selectedMethod = useSignal<number | null>(null);
  // The class that an image without a label is predicted to be in the end.
  const finalClass = useComputed(() => {
    const probabilities = scores.at(selection.image.value, last.value);
    return probabilities ? Math.max(0, predictedClass(probabilities)) : 0;
  });
  const index = useComputed(() => {
    const isSelected = (row: AtlasRow) =>
      view.rows.value === "probes"
        ? row.image === selection.image.value
        : row.class_index === (selectedClass.value ?? row.label ?? finalClass.value);
    return Math.max(0, rows.value.findIndex(isSelected));
  });
  const row = useComputed(() => rows.value[index.value] ?? null);
  const method = useComputed(() =>
    visibleMethodIndices(view.visibleMethods.value).includes(selectedMethod.value ?? -1) ? selectedMethod.value : null,
  );
  const key = useComputed(() => {
    const firstMethod = visibleMethodIndices(view.visibleMethods.value)[0]!;
    return row.value ? lineKey(row.value, method.value ?? firstMethod) : "";
  });

  const selectRow = (reference: string, classIndex: number) => {
    if (view.rows.peek() === "probes") selection.select(reference);
    else selectedClass.value = classIndex;
  };
  return {
    row,
    method,
    key,
    select: (line) =>
      batch(() => {
        const [reference, classIndex, lineMethod] = line.key.split(" ") as [string, string, string];
        selectRow(reference, Number(classIndex));
        selectedMethod.value = Number(lineMethod);
      }),
    step: (by) => {
      const next = elementNear(rows.peek(), index.peek() + by);
      if (next) selectRow(next.image, next.class_index);
    },
    showClasses: (image) =>
      batch(() => {
        selectedClass.value = null;
        selection.select(image);
        view.rows.value = "classes";
      }),
  };
}
