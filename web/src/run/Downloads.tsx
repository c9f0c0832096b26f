import { type ReadonlySignal, useSignal } from "@preact/signals";
import { address, type Params } from "../api/address";
import type { AtlasRow } from "../api/types";
import { Details } from "../components/Details";
import { type View, visibleMethodIndices } from "../hooks/useView";
import { methodSpecParameters } from "../maps/methodSpec";
import { specTitle } from "../maps/methodTitles";
import { t } from "../text";

const COPIED_MS = 2000;

interface Props {
  runId: number;
  view: View;
  row: ReadonlySignal<AtlasRow | null>; // the selected image and class
}

/** Links to everything that the service exports of a run: pictures, animations, numbers and a report. */
export function Downloads({ runId, view, row }: Props) {
  const methods = visibleMethodIndices(view.visibleMethods.value).map(
    (index) => (index ? view.methodB : view.methodA).value,
  );
  return (
    <Details class="downloads" summary={t("export.title")}>
      {() => (
        <div class="download-list">
          {[...new Set(methods)].map((method) => (
            <MethodDownloads key={method} runId={runId} view={view} row={row.value} method={method} />
          ))}
          <RunDownloads runId={runId} methods={methods} />
        </div>
      )}
    </Details>
  );
}

interface MethodProps {
  runId: number;
  view: View;
  row: AtlasRow | null;
  method: string; // with its target and parameters
}

function MethodDownloads({ runId, view, row, method }: MethodProps) {
  const run = `/runs/${runId}`;
  const file = `run-${runId}-${slug(method)}`;
  const parameters = methodSpecParameters(method);
  const cell = row ? { image: row.image, class: row.class_name } : {};
  const drawing = {
    style: view.style.value,
    scale: view.scale.value,
    colormap: view.style.value === "signed" ? undefined : view.colormap.value,
    opacity: view.style.value === "overlay" ? view.opacity.value : undefined,
  };
  const strip = { ...parameters, ...cell, ...drawing };
  const hasRowMaps = !row || parameters.contrast_class !== String(row.class_index);
  return (
    <section>
      <h3>{specTitle(method)}</h3>
      <Download
        url={address(`${run}/sheet`, { ...parameters, ...drawing })}
        file={`${file}-sheet.png`}
        text={t("export.sheet")}
      />
      {hasRowMaps && (
        <>
          <Download url={address(`${run}/strip`, strip)} file={`${file}-strip.png`} text={t("export.strip")} />
          <Download url={address(`${run}/strip.webp`, strip)} file={`${file}.webp`} text={t("export.webp")} />
          <Download url={address(`${run}/strip.gif`, strip)} file={`${file}.gif`} text={t("export.gif")} />
          <Download
            url={address(`${run}/strip.npz`, { ...parameters, ...cell })}
            file={`${file}.npz`}
            text={t("export.npz")}
          />
        </>
      )}
    </section>
  );
}

function RunDownloads({ runId, methods }: { runId: number; methods: string[] }) {
  const run = `/runs/${runId}`;
  const file = `run-${runId}`;
  const params: Params = { method: methods };
  return (
    <section>
      <h3>{t("export.run")}</h3>
      <Download url={address(`${run}/epochs.csv`)} file={`${file}-epochs.csv`} text={t("export.metrics")} />
      <Download url={address(`${run}/blanks.csv`, params)} file={`${file}-blanks.csv`} text={t("export.blanks")} />
      <Download url={address(`${run}/report.html`, params)} file={`${file}-report.html`} text={t("export.report")} />
      <CopyLinkButton />
    </section>
  );
}

function Download({ url, file, text }: { url: string; file: string; text: string }) {
  return (
    <a href={url} download={file}>
      {text}
    </a>
  );
}

function CopyLinkButton() {
  const isCopied = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(location.href);
    isCopied.value = true;
    setTimeout(() => (isCopied.value = false), COPIED_MS);
  };
  return (
    <button type="button" onClick={copy}>
      {isCopied.value ? t("export.copied") : t("export.link")}
    </button>
  );
}

const slug = (text: string): string => text.replace(/[^a-z0-9.+-]+/gi, "-");
