import { t } from "../text";
import { columnText, measureName, measureText, pathLabel, valueText } from "./format";
import type { Comparison, Marginal, Measure } from "./types";

interface Props {
  comparison: Comparison;
  measures: Measure[];
  measure: string; // whose column stands out
}

/** A table per field: the mean of each measure by the field's values, and which differences are noise. */
export function Marginals({ comparison, measures, measure }: Props) {
  const fields = [...new Set(comparison.marginals.map(({ field }) => field))];
  if (!fields.length) return null;
  const slots = { value: columnText(comparison.column!, comparison.align), count: comparison.runs_compared };
  const isSampled = comparison.marginals.some(({ noise_source }) => noise_source === "settings");
  return (
    <section class="marginals" aria-label={t("marginals.title")}>
      <h2>{t("marginals.title")}</h2>
      <p class="note">
        {t(`marginals.at.${comparison.align}`, slots)} {t("marginals.intro")} {isSampled && t("marginals.settings")}
      </p>
      <div class="marginal-tables">
        {fields.map((field) => (
          <FieldTable
            key={field}
            field={field}
            marginals={comparison.marginals.filter((marginal) => marginal.field === field)}
            measures={measures.filter(({ direction }) => direction !== "neither")}
            measure={measure}
          />
        ))}
      </div>
    </section>
  );
}

interface TableProps extends Pick<Props, "measures" | "measure"> {
  field: string;
  marginals: Marginal[];
}

function FieldTable({ field, marginals, measures, measure }: TableProps) {
  const columns = measures.flatMap(({ name, direction }) => {
    const marginal = marginals.find((candidate) => candidate.measure === name);
    return marginal ? [{ name, marginal, best: bestIndex(marginal, direction) }] : [];
  });
  const rows = columns[0]?.marginal.means ?? [];
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard
    <div class="table-frame" tabIndex={0} role="region" aria-label={`${t("marginals.title")}: ${field}`}>
      <table class="marginal">
        <thead>
          <tr>
            <th title={field}>{pathLabel(field)}</th>
            <th>{t("marginals.runs")}</th>
            {columns.map(({ name }) => (
              <th key={name} class={name === measure ? "current" : undefined}>
                {measureName(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ value, runs }, index) => (
            <tr key={valueText(value)}>
              <th scope="row">{valueText(value)}</th>
              <td>{runs}</td>
              {columns.map(({ name, marginal, best }) => (
                <td key={name} class={name === measure ? "current" : undefined}>
                  <Mean marginal={marginal} index={index} best={best} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">{t("marginals.band")}</th>
            <td />
            {columns.map(({ name, marginal }) => (
              <td key={name} class={name === measure ? "current" : undefined}>
                {measureText(bandOf(marginal))}
              </td>
            ))}
          </tr>
        </tfoot>
      </table>
    </div>
  );
}

/** A mean: bold if it is the best, marked if its difference from the best is noise. */
function Mean({ marginal, index, best }: { marginal: Marginal; index: number; best: number }) {
  const text = measureText(marginal.means[index]?.mean ?? null);
  if (index === best) return <b>{text}</b>;
  const pair = marginal.differences.find(
    ({ first, second }) => [first, second].includes(index) && [first, second].includes(best),
  );
  return (
    <>
      {text} {pair?.is_noise && <abbr title={t("marginals.isNoise")}>≈</abbr>}
    </>
  );
}

function bestIndex({ means }: Marginal, direction: Measure["direction"]): number {
  const values = means.map(({ mean }) => mean);
  return values.indexOf(direction === "lower" ? Math.min(...values) : Math.max(...values));
}

const bandOf = ({ differences }: Marginal): number | null =>
  differences.reduce<number | null>((band, next) => (next.band === null ? band : Math.max(band ?? 0, next.band)), null);
