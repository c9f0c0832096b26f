// What can be taken away from a run: pictures, animations, numbers, a report, a link.

import { useSignal } from "@preact/signals";
import { address } from "../api/address";
import type { AtlasRow } from "../api/types";
import { Details } from "../parts/Details";
import { t } from "../text";
import { linesOf, type View } from "./view";

interface Props {
  runId: number;
  view: View;
  row: AtlasRow | null; // the selected image and class
}

export function TakeAway({ runId, view, row }: Props) {
  const copied = useSignal(false);
  const run = `/runs/${runId}`;
  const methods = linesOf(view.shown.value).map((which) => (which ? view.methodB : view.methodA).value);
  const drawn = {
    style: view.style.value,
    scale: view.scale.value,
    colormap: view.style.value === "signed" ? undefined : view.colormap.value,
  };
  const of = row ? { image: row.image, class: row.class_name } : {};
  const copy = async () => {
    await navigator.clipboard.writeText(location.href);
    copied.value = true;
    setTimeout(() => (copied.value = false), 2000);
  };
  return (
    <Details class="take-away" summary={t("export.title")}>
      {() => (
        <div class="take-list">
          {[...new Set(methods)].map((text) => {
            const which = parameters(text);
            const strip = { ...which, ...of, ...drawn };
            return (
              <section>
                <h3>{text}</h3>
                <a href={address(`${run}/sheet`, { ...which, ...drawn })} download={`run-${runId}-${slug(text)}-sheet.png`}>{t("export.sheet")}</a>
                <a href={address(`${run}/strip`, strip)} download={`run-${runId}-${slug(text)}-strip.png`}>{t("export.strip")}</a>
                <a href={address(`${run}/strip.webp`, strip)} download={`run-${runId}-${slug(text)}.webp`}>{t("export.webp")}</a>
                <a href={address(`${run}/strip.gif`, strip)} download={`run-${runId}-${slug(text)}.gif`}>{t("export.gif")}</a>
                <a href={address(`${run}/strip.npz`, { ...which, ...of })} download={`run-${runId}-${slug(text)}.npz`}>{t("export.npz")}</a>
              </section>
            );
          })}
          <section>
            <h3>{t("export.run")}</h3>
            <a href={address(`${run}/epochs.csv`)} download={`run-${runId}-epochs.csv`}>{t("export.metrics")}</a>
            <a href={address(`${run}/blanks.csv`, { method: methods })} download={`run-${runId}-blanks.csv`}>{t("export.blanks")}</a>
            <a href={address(`${run}/report.html`, { method: methods })} download={`run-${runId}-report.html`}>{t("export.report")}</a>
            <button type="button" onClick={copy}>{copied.value ? t("export.copied") : t("export.link")}</button>
          </section>
        </div>
      )}
    </Details>
  );
}

/** An explanation's text as the parameters of pictures: `layer-cam/centered?steps=4`. */
function parameters(text: string): Record<string, string> {
  const [name, own] = text.split("?") as [string, string | undefined];
  const [method, target] = name.split("/") as [string, string | undefined];
  return { method, ...(target ? { target } : {}), ...Object.fromEntries(new URLSearchParams(own ?? "")) };
}

const slug = (text: string): string => text.replace(/[^a-z0-9.+-]+/gi, "-");
