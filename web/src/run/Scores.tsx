// What the network says of the selected image at the scrubbed epoch.

import type { ReadonlySignal } from "@preact/signals";
import { percent, t } from "../text";
import { mostLikely, type FollowedScores } from "./probabilities";

interface Props {
  scores: FollowedScores;
  image: ReadonlySignal<string | null>;
  epoch: ReadonlySignal<number>;
}

export function Scores({ scores: { classes, label, at }, image, epoch }: Props) {
  const now = at(image.value, epoch.value);
  const best = now ? mostLikely(now) : -1;
  return (
    <section class="scores" aria-label={t("scores.title")}>
      <h3>{t("scores.title")}</h3>
      <table>
        <tbody>
          {classes.value.map((name, index) => {
            const share = now?.[index] ?? null;
            return (
              <tr class={index === label.value ? "own" : ""}>
                <th scope="row">{name}{index === label.value && <span class="visually-hidden"> ({t("scores.label")})</span>}</th>
                <td class="bar"><span style={{ width: `${(share ?? 0) * 100}%` }} class={index === best ? "best" : ""} /></td>
                <td class="figure">{share === null ? "–" : percent(share)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p class="muted">{best < 0 ? "" : prediction(classes.value, best, label.value)}</p>
    </section>
  );
}

/** `Correct`, or the predicted class beside the true one, which an uploaded image does not have. */
function prediction(classes: string[], predicted: number, label: number | null): string {
  const name = classes[predicted]!;
  if (label === null) return t("scores.predicted", { name });
  return predicted === label ? t("scores.correct") : t("scores.incorrect", { name, label: classes[label]! });
}
