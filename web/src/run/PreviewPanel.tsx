// The selected image at the selected epoch, enlarged: its maps, whose values a pointer reads, and the input.

import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { useAnimationFrame } from "../hooks/useAnimationFrame";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { imagePixels, isLoading, loadedImages } from "../maps/images";
import { valueAt } from "../maps/levels";
import { type Geometry, paintCell } from "../maps/paint";
import { summarize } from "../maps/ReelPointer";
import type { StyledMap } from "../maps/rowMaps";
import { significant, t } from "../text";
import { imageName } from "./imageName";

const SIDE = 224; // CSS pixels, at least as many as a picture is displayed with
const MAX_PIXEL_RATIO = 2;

/** A map as a large picture. */
export interface Preview {
  title: string;
  map: StyledMap | null;
  missing: string; // why there is no map of the method
}

interface Props {
  dataset: string;
  image: ReadonlySignal<string | null>; // reference
  previews: ReadonlySignal<Preview[]>;
}

export function PreviewPanel({ dataset, image, previews }: Props) {
  const drawInput = (size: number) => {
    const reference = image.value;
    return reference && !isLoading(dataset, reference) ? imagePixels(dataset, reference, size) : null;
  };
  return (
    <div class="previews">
      {previews.value.map((_, index) => (
        <MapPreview key={index} index={index} dataset={dataset} image={image} previews={previews} />
      ))}
      <figure>
        <Picture dependencies={[image]} draw={drawInput} label={t("preview.input")} />
        <figcaption>
          {t("preview.input")} <code>{imageName(image.value)}</code>
        </figcaption>
      </figure>
      <p class="note">{t("preview.hint")}</p>
    </div>
  );
}

interface PictureProps {
  dependencies: readonly ReadonlySignal<unknown>[]; // a change of one of them draws the picture again
  draw: (size: number) => Uint32Array | null; // null: keep what is drawn
  label: string;
  isFaded?: boolean;
}

function Picture({ dependencies, draw, label, isFaded = false }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const paint = useAnimationFrame(() => {
    const size = Math.round(SIDE * Math.min(Math.max(devicePixelRatio || 1, 1), MAX_PIXEL_RATIO));
    const pixels = draw(size);
    const element = canvas.current;
    if (!pixels || !element) return;
    if (element.width !== size) element.width = element.height = size;
    const data = new ImageData(new Uint8ClampedArray(pixels.buffer as ArrayBuffer, 0, 4 * size * size), size, size);
    element.getContext("2d")!.putImageData(data, 0, 0);
  });
  useSignalLayoutEffect(() => {
    void [loadedImages.value, ...dependencies.map((dependency) => dependency.value)];
    paint();
  });
  return <canvas ref={canvas} role="img" aria-label={label} class={isFaded ? "faded" : ""} />;
}

/** A position of a map: row and column. */
interface MapPosition {
  i: number;
  j: number;
}

function MapPreview({ index, dataset, image, previews }: Props & { index: number }) {
  const position = useSignal<MapPosition | null>(null);
  const buffer = useRef(new Uint32Array(0));
  const draw = (size: number) => {
    const { map } = previews.value[index] ?? {};
    if (buffer.current.length !== size * size) buffer.current = new Uint32Array(size * size);
    const pixels = buffer.current;
    if (!map || !image.value) return pixels.fill(0);
    if (isLoading(dataset, image.value)) return null;
    const region = { pixels, stride: size, x: 0, y: 0, size };
    paintCell(region, map.cell, map.geometry, imagePixels(dataset, image.value, size), map.style);
    return pixels;
  };
  const preview = previews.value[index];
  if (!preview) return null;
  const { title, map, missing } = preview;
  const isOutdated = map?.isOutdated ?? false;
  const summary = map && !isOutdated ? summarize(map.cell) : missing;
  const onPointerMove = (event: PointerEvent) => {
    position.value = map && !isOutdated ? positionBelow(event, map.geometry) : null;
  };
  const isMissing = !map || isOutdated;
  const isBlank = map !== null && !isOutdated && map.cell.blank !== "none";
  return (
    <figure>
      <div onPointerMove={onPointerMove} onPointerLeave={() => (position.value = null)}>
        <Picture dependencies={[previews, image]} draw={draw} label={`${title}: ${summary}`} isFaded={isOutdated} />
      </div>
      <figcaption>
        <b>{title}</b>{" "}
        <span class={`map-summary ${isMissing ? "missing" : ""} ${isBlank ? "blank" : ""}`}>
          {map && position.value ? (valueText(map, position.value) ?? summary) : summary}
        </span>
      </figcaption>
    </figure>
  );
}

/** The position of the map nearest to the pointer; null beyond the outermost ones. */
function positionBelow(event: PointerEvent, geometry: Geometry): MapPosition | null {
  const bounds = (event.currentTarget as HTMLElement).getBoundingClientRect();
  const nearest = (offset: number, extent: number, imagePixelCount: number, positions: number) => {
    const imagePixel = (offset / extent) * imagePixelCount - 0.5;
    const index = Math.round((imagePixel - geometry.first) / geometry.step);
    return index >= 0 && index < positions ? index : null;
  };
  const i = nearest(event.clientY - bounds.top, bounds.height, geometry.imageHeight, geometry.height);
  const j = nearest(event.clientX - bounds.left, bounds.width, geometry.imageWidth, geometry.width);
  return i === null || j === null ? null : { i, j };
}

/** The value at a position; null if it is not finite. */
function valueText({ cell, geometry }: StyledMap, { i, j }: MapPosition): string | null {
  if (cell.blank === "not-finite") return null;
  return t("preview.value", { i, j, value: significant(valueAt(cell, geometry.width, i, j)) });
}
