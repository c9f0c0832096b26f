import { type ReadonlySignal, useSignal } from "@preact/signals";
import { Failure } from "../components/Failure";
import { SearchableSelect } from "../components/SearchableSelect";
import { percent, t } from "../text";
import { type ClassScores, type Probabilities, predictedClass } from "./useScores";

interface Props {
  scores: ClassScores;
  image: ReadonlySignal<string | null>;
  epoch: ReadonlySignal<number>;
}

const MAX_CLASSES = 20; // that the table shows all of
const MOST_PROBABLE = 10; // that it shows of more

/**
 * Indices of the classes in the table, in order: all, or of many the most probable ones, the true class, and the one
 * that was searched for.
 */
export function tableClasses(
  count: number,
  probabilities: Probabilities,
  others: readonly (number | null)[],
): number[] {
  const indices = Array.from({ length: count }, (_, index) => index);
  if (count <= MAX_CLASSES) return indices;
  const probabilityOf = (index: number) => probabilities[index] ?? -1;
  const byProbability = indices.sort((a, b) => probabilityOf(b) - probabilityOf(a));
  const added = new Set(others);
  return byProbability.filter((index, position) => position < MOST_PROBABLE || added.has(index));
}

/** The probabilities of the classes for the selected image at the selected epoch, and the prediction. */
export function ClassScoresTable({ scores: { classNames, label, at, failure, retry }, image, epoch }: Props) {
  const probabilities = at(image.value, epoch.value);
  const searched = useSignal<number | null>(null);
  const names = classNames.value;
  const indices = tableClasses(names.length, probabilities ?? [], [label.value, searched.value]);
  const predicted = probabilities ? predictedClass(probabilities) : -1;
  return (
    <section class="scores" aria-label={t("scores.title")}>
      <h3>{t("scores.title")}</h3>
      {failure.value && !probabilities && <Failure error={failure.value} retry={retry} />}
      <table>
        <tbody>
          {indices.map((index) => {
            const name = names[index]!;
            const probability = probabilities?.[index] ?? null;
            const isLabel = index === label.value;
            return (
              <tr key={index} class={isLabel ? "true-class" : ""}>
                <th scope="row" title={name}>
                  {name}
                  {isLabel && <span class="visually-hidden"> ({t("scores.label")})</span>}
                </th>
                <td class="bar">
                  <span style={{ width: `${(probability ?? 0) * 100}%` }} class={index === predicted ? "best" : ""} />
                </td>
                <td class="figure">{probability === null ? "–" : percent(probability)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {indices.length < names.length && (
        <SearchableSelect
          label={t("scores.search", { count: names.length })}
          options={names.map((name, index) => ({ value: String(index), text: name }))}
          value={searched.value === null ? "" : String(searched.value)}
          onChange={(value) => (searched.value = Number(value))}
        />
      )}
      <p class="muted">{predicted < 0 ? "" : describePrediction(classNames.value, predicted, label.value)}</p>
    </section>
  );
}

/** "Correct", or the predicted class beside the true one, which an uploaded image does not have. */
function describePrediction(classNames: string[], predicted: number, label: number | null): string {
  const name = classNames[predicted]!;
  if (label === null) return t("scores.predicted", { name });
  return predicted === label ? t("scores.correct") : t("scores.incorrect", { name, label: classNames[label]! });
}
