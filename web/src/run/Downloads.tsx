import { type ReadonlySignal, useSignal } from "@preact/signals";
import { address, type Params } from "../api/address";
import type { AtlasRow } from "../api/types";
import { Details } from "../components/Details";
import { requestedLayers } from "../hooks/useCatalogue";
import { type View, visibleMethodIndices } from "../hooks/useView";
import { methodSpecParameters } from "../maps/methodSpec";
import { specTitle } from "../maps/methodTitles";
import { t } from "../text";

const COPIED_MS = 2000;
const ANIMATION_SIZES = [112, 224, 336, 512]; // pixels of a map; the API's default is 224

interface Props {
  runId: number;
  view: View;
  row: ReadonlySignal<AtlasRow | null>; // the selected image and class
}

/** Links to everything that the service exports of a run: pictures, animations, numbers and a report. */
export function Downloads({ runId, view, row }: Props) {
  const sides = visibleSides(view);
  const layers = [...new Set(sides.map(({ layer }) => layer))];
  return (
    <Details class="downloads" summary={t("export.title")}>
      {() => (
        <div class="download-list">
          {sides.map((side) => (
            <MethodDownloads key={titleOf(side)} runId={runId} view={view} row={row.value} side={side} />
          ))}
          {layers.map((layer) => (
            <AnimationDownloads
              key={layer}
              {...{ runId, view, layer }}
              row={row.value}
              methods={sides.filter((side) => side.layer === layer).map(({ method }) => method)}
            />
          ))}
          <RunDownloads runId={runId} methods={[...new Set(sides.map(({ method }) => method))]} />
        </div>
      )}
    </Details>
  );
}

/** A method and its layer. */
interface Side {
  method: string; // with its target and parameters
  layer: string | null; // null: the default
}

const titleOf = ({ method, layer }: Side): string => specTitle(method, layer);

/** The visible methods, each once with the same layer. */
function visibleSides(view: View): Side[] {
  const layers = requestedLayers(view);
  const sides = visibleMethodIndices(view.visibleMethods.value).map((index): Side => {
    const { value: method } = index ? view.methodB : view.methodA;
    return { method, layer: layers[index] ?? null };
  });
  return [...new Map(sides.map((side) => [titleOf(side), side])).values()];
}

interface MethodProps {
  runId: number;
  view: View;
  row: AtlasRow | null;
  side: Side;
}

function MethodDownloads({ runId, view, row, side }: MethodProps) {
  const { method, layer } = side;
  const run = `/runs/${runId}`;
  const file = `run-${runId}-${slug([method, layer].filter(Boolean).join("-"))}`;
  const parameters = { ...methodSpecParameters(method), layer };
  const cell = cellParameters(row);
  const drawing = drawingParameters(view);
  const strip = { ...parameters, ...cell, ...drawing };
  return (
    <section>
      <h3>{titleOf(side)}</h3>
      <Download
        url={address(`${run}/sheet`, { ...parameters, ...drawing })}
        file={`${file}-sheet.png`}
        text={t("export.sheet")}
      />
      {hasMaps(method, row) && (
        <>
          <Download url={address(`${run}/strip`, strip)} file={`${file}-strip.png`} text={t("export.strip")} />
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

interface AnimationProps extends Omit<MethodProps, "side"> {
  methods: string[];
  layer: string | null; // of all of them
}

/** One animation of the visible methods of a layer, side by side. */
function AnimationDownloads({ runId, view, row, methods, layer }: AnimationProps) {
  const size = useSignal(224);
  const hasCurve = useSignal(true);
  const method = methods.filter((spec) => hasMaps(spec, row));
  if (!method.length) return null;
  const url = (format: string) =>
    address(`/runs/${runId}/strip.${format}`, {
      method,
      layer,
      ...cellParameters(row),
      ...drawingParameters(view),
      size: size.value,
      curve: String(hasCurve.value),
    });
  return (
    <section>
      <h3>{[t("export.animation"), layer].filter(Boolean).join(", ")}</h3>
      <label>
        {t("export.size")}{" "}
        <select value={size.value} onChange={(event) => (size.value = Number(event.currentTarget.value))}>
          {ANIMATION_SIZES.map((pixels) => (
            <option key={pixels} value={pixels}>
              {t("export.pixels", { pixels })}
            </option>
          ))}
        </select>
      </label>
      <label>
        <input
          type="checkbox"
          checked={hasCurve.value}
          onChange={(event) => (hasCurve.value = event.currentTarget.checked)}
        />{" "}
        {t("export.curve")}
      </label>
      <Download url={url("webp")} file={`run-${runId}.webp`} text={t("export.webp")} />
      <Download url={url("gif")} file={`run-${runId}.gif`} text={t("export.gif")} />
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

/** The selected image and class. */
const cellParameters = (row: AtlasRow | null): Params => (row ? { image: row.image, class: row.class_name } : {});

/** How the view draws maps. */
function drawingParameters(view: View): Params {
  const style = view.style.value;
  return {
    style,
    scale: view.scale.value,
    colormap: style === "signed" ? undefined : view.colormap.value,
    opacity: style === "overlay" ? view.opacity.value : undefined,
  };
}

/** Whether a method has maps of the row: none of the class that it contrasts the others with. */
const hasMaps = (method: string, row: AtlasRow | null): boolean =>
  !row || methodSpecParameters(method).contrast_class !== String(row.class_index);

const slug = (text: string): string => text.replace(/[^a-z0-9.+-]+/gi, "-");
