// What the network says of the selected image at the scrubbed epoch.

import { useSignal, useSignalEffect, type ReadonlySignal } from "@preact/signals";
import { getJson } from "../api/client";
import type { Scores as Answer } from "../api/types";
import { ranges } from "../maps/reel";
import { percent, t } from "../text";

interface Props {
  runId: number;
  image: ReadonlySignal<string | null>;
  epoch: ReadonlySignal<number>;
  last: ReadonlySignal<number>;
}

const AT_ONCE = 200;

export function Scores({ runId, image, epoch, last }: Props) {
  const known = useSignal(new Map<string, number[]>());
  const classes = useSignal<string[]>([]);
  const label = useSignal<number | null>(null);

  useSignalEffect(() => {
    const reference = image.value;
    const at = epoch.value;
    if (!reference || last.value < 0 || at > last.value || known.peek().has(`${reference} ${at}`)) return;
    // A block around the epoch: scrubbing on asks for nothing.
    const from = Math.max(0, at - AT_ONCE / 2);
    const wanted = Array.from({ length: AT_ONCE }, (_, i) => from + i)
      .filter((e) => e <= last.value && (e === at || !known.peek().has(`${reference} ${e}`)));
    if (!known.peek().size) return void read(reference, wanted);
    // Not for each epoch that is scrubbed past.
    const asked = setTimeout(() => void read(reference, wanted), 30);
    return () => clearTimeout(asked);
  });

  async function read(reference: string, epochs: number[]) {
    try {
      const answer = await getJson<Answer>(`/runs/${runId}/scores`, { image: reference, epochs: ranges(epochs) });
      const next = new Map(known.peek());
      answer.epochs.forEach((e, i) => next.set(`${reference} ${e}`, answer.probabilities[i]!));
      classes.value = answer.classes;
      label.value = answer.label;
      known.value = next;
    } catch {
      // The maps say what is wrong with the run or the service; without scores this stays empty.
    }
  }

  const now = known.value.get(`${image.value} ${epoch.value}`);
  const best = now ? now.indexOf(Math.max(...now)) : -1;
  return (
    <section class="scores" aria-label={t("scores.title")}>
      <h3>{t("scores.title")}</h3>
      <table>
        <tbody>
          {classes.value.map((name, index) => {
            const share = now?.[index] ?? 0;
            return (
              <tr class={index === label.value ? "own" : ""}>
                <th scope="row">{name}{index === label.value && <span class="visually-hidden"> ({t("scores.label")})</span>}</th>
                <td class="bar"><span style={{ width: `${share * 100}%` }} class={index === best ? "best" : ""} /></td>
                <td class="figure">{now ? percent(share) : "–"}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      <p class="muted">{best < 0 ? "" : best === label.value ? t("scores.right") : t("scores.wrong", { name: classes.value[best]! })}</p>
    </section>
  );
}
