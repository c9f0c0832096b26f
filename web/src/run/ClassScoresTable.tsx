import type { ReadonlySignal } from "@preact/signals";
import { Failure } from "../components/Failure";
import { percent, t } from "../text";
import { type ClassScores, predictedClass } from "./useScores";

interface Props {
  scores: ClassScores;
  image: ReadonlySignal<string | null>;
  epoch: ReadonlySignal<number>;
}

/** The probabilities of all classes for the selected image at the selected epoch, and the prediction. */
export function ClassScoresTable({ scores: { classNames, label, at, failure, retry }, image, epoch }: Props) {
  const probabilities = at(image.value, epoch.value);
  const predicted = probabilities ? predictedClass(probabilities) : -1;
  return (
    <section class="scores" aria-label={t("scores.title")}>
      <h3>{t("scores.title")}</h3>
      {failure.value && !probabilities && <Failure error={failure.value} retry={retry} />}
      <table>
        <tbody>
          {classNames.value.map((name, index) => {
            const probability = probabilities?.[index] ?? null;
            const isLabel = index === label.value;
            return (
              <tr key={name} class={isLabel ? "true-class" : ""}>
                <th scope="row">
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
