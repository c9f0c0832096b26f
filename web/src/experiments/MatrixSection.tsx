// The matrix of an experiment: a row per value of a field, a column per epoch, a mean map in each cell.

import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { address } from "../api/address";
import { recordedMethods } from "../api/catalogue";
import { getJson } from "../api/client";
import { Failure, Loading } from "../components/Failure";
import { Link } from "../components/Link";
import { colormaps, loadColormaps } from "../maps/colors";
import { specTitle } from "../maps/methodTitles";
import { number, t } from "../text";
import { columnText, measureName, measureText, pathLabel, valueText } from "./format";
import { paintMeanMap, tintColor, topLevel } from "./meanMaps";
import type { Align, Experiment, Matrix, MatrixCell } from "./types";

interface Props {
  experiment: Experiment;
  align: Align;
  measure: string;
}

const MAX_COLUMNS = 24;

export function MatrixSection({ experiment, align, measure }: Props) {
  const options = useSignal({ field: experiment.fields[0]!, class_index: 0, method: "proposed", columns: 8 });
  const matrix = useSignal<Matrix | null>(null);
  const failure = useSignal<Error | null>(null);
  const params = { ...options.value, align, measure };
  const { id, epochs_done } = experiment;
  useEffect(() => {
    const request = new AbortController();
    getJson<Matrix>(`/experiments/${id}/matrix.json`, params, request.signal).then(
      (answer) => {
        matrix.value = answer;
        failure.value = null;
      },
      (error) => {
        if (!request.signal.aborted) failure.value = error as Error;
      },
    );
    return () => request.abort();
  }, [JSON.stringify(params), epochs_done]);
  useEffect(() => void loadColormaps().catch(() => {}), []);
  const set = (changes: Partial<typeof options.value>) => (options.value = { ...options.value, ...changes });
  const direction = experiment.measures.find(({ name }) => name === measure)?.direction;
  return (
    <section class="matrix-section" aria-label={t("matrix.title")}>
      <h2>{t("matrix.title")}</h2>
      <p class="note">{t("matrix.intro")}</p>
      <div class="options">
        <label>
          <span>{t("matrix.rows")}</span>
          <select value={options.value.field} onChange={(event) => set({ field: event.currentTarget.value })}>
            {experiment.fields.map((path) => (
              <option key={path} value={path}>
                {pathLabel(path)}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t("matrix.class")}</span>
          <input
            type="number"
            min={0}
            value={options.value.class_index}
            onChange={(event) => set({ class_index: Math.max(0, Number(event.currentTarget.value)) })}
          />
        </label>
        <label>
          <span>{t("matrix.method")}</span>
          <select value={options.value.method} onChange={(event) => set({ method: event.currentTarget.value })}>
            {recordedMethods().map((name) => (
              <option key={name} value={name}>
                {specTitle(name)}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>{t("matrix.count")}</span>
          <input
            type="number"
            min={1}
            max={MAX_COLUMNS}
            value={options.value.columns}
            onChange={(event) =>
              set({ columns: Math.min(MAX_COLUMNS, Math.max(1, Number(event.currentTarget.value))) })
            }
          />
        </label>
        <a class="button" href={address(`/experiments/${id}/matrix`, params)}>
          {t("experiment.png")}
        </a>
      </div>
      {failure.value && <Failure error={failure.value} />}
      {!matrix.value && !failure.value && <Loading />}
      {matrix.value && <MatrixTable matrix={matrix.value} isLowerBetter={direction === "lower"} />}
    </section>
  );
}

function MatrixTable({ matrix, isLowerBetter }: { matrix: Matrix; isLowerBetter: boolean }) {
  const measures = matrix.rows.flatMap(({ cells }) => cells.flatMap(({ measure }) => measure ?? []));
  const [low, high] = [Math.min(...measures), Math.max(...measures)];
  const top = useMemo(() => topLevel(matrix), [matrix]);
  const tint = (measure: number | null) => {
    if (measure === null) return null;
    const position = high > low ? (measure - low) / (high - low) : 1;
    return isLowerBetter ? 1 - position : position;
  };
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="table-frame" tabIndex={0} role="region" aria-label={t("matrix.title")}>
      <table class="matrix">
        <thead>
          <tr>
            <th title={matrix.field}>{pathLabel(matrix.field)}</th>
            {matrix.columns.map((column) => (
              <th key={column}>
                {t(`align.${matrix.align}`)} {columnText(column, matrix.align)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {matrix.rows.map(({ value, run_ids, cells }) => (
            <tr key={valueText(value)}>
              <th scope="row">
                {valueText(value)}
                <div class="note">{t("table.runs", { count: number(run_ids.length) })}</div>
              </th>
              {cells.map((cell, index) => (
                <td key={matrix.columns[index]}>
                  <Cell
                    matrix={matrix}
                    top={top}
                    cell={cell}
                    tint={tint(cell.measure)}
                    label={cellLabel(matrix, valueText(value), index, cell)}
                  />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const cellLabel = (matrix: Matrix, value: string, column: number, cell: MatrixCell): string =>
  t("matrix.cell", {
    value: `${pathLabel(matrix.field)} ${value}`,
    column: `${t(`align.${matrix.align}`)} ${columnText(matrix.columns[column]!, matrix.align)}`,
    measure: `${measureName(matrix.measure)} ${measureText(cell.measure)}`,
    maps: cell.maps,
    blank: cell.blank,
  });

interface CellProps {
  matrix: Matrix;
  top: number; // highest level of all cells
  cell: MatrixCell;
  tint: number | null;
  label: string;
}

/** A mean map in the frame of its measure; it leads to the first of its runs at that epoch. */
function Cell({ matrix, top, cell, tint, label }: CellProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const hasColors = colormaps.value.length > 0;
  useEffect(() => {
    if (canvas.current && cell.levels && hasColors) paintMeanMap(canvas.current, cell.levels, matrix, top);
  }, [cell.levels, matrix.image, top, hasColors]);
  const first = Object.entries(cell.run_epochs)[0];
  const picture = cell.levels ? (
    <canvas ref={canvas} width={matrix.side} height={matrix.side} role="img" aria-label={label} />
  ) : (
    <span class="no-map" title={label}>
      {t("matrix.empty")}
    </span>
  );
  return (
    <figure title={label} style={{ borderColor: tint === null || !hasColors ? undefined : tintColor(tint) }}>
      {first ? <Link to={`/runs/${first[0]}?epoch=${first[1]}`}>{picture}</Link> : picture}
      <figcaption>{measureText(cell.measure)}</figcaption>
    </figure>
  );
}
