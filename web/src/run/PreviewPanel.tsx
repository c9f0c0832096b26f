// The selected image at the selected epoch, enlarged: its maps, whose values a pointer reads, and the input.

import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { useAnimationFrame } from "../hooks/useAnimationFrame";
import { useSignalLayoutEffect } from "../hooks/useSignalLayoutEffect";
import { imagePixels, imageSize, isLoading, loadedImages } from "../maps/images";
import { valueAt } from "../maps/levels";
import { containedSize, type Geometry, paintCell } from "../maps/paint";
import { summarize } from "../maps/ReelPointer";
import type { StyledMap } from "../maps/rowMaps";
import { significant, t } from "../text";
import { imageName } from "./imageName";

const SIDE = 224; // CSS pixels of the longer side, at least as many as a picture is displayed with
const MAX_PIXEL_RATIO = 2;

/** A map as a large picture. */
export interface Preview {
  title: string;
  map: StyledMap | null;
  missing: string; // why there is no map of the method
}

/** The pixels of a picture, row by row. */
interface Pixels {
  pixels: Uint32Array;
  width: number;
  height: number;
}

interface Props {
  runId: number;
  image: ReadonlySignal<string | null>; // reference
  previews: ReadonlySignal<Preview[]>;
}

export function PreviewPanel({ runId, image, previews }: Props) {
  const drawInput = (side: number): Pixels | null => {
    const reference = image.value;
    if (!reference || isLoading(runId, reference)) return null;
    const { width, height } = imageSize(runId, reference) ?? { width: 1, height: 1 };
    const size = containedSize(width, height, side);
    return { ...size, pixels: imagePixels(runId, reference, size.width, size.height) };
  };
  return (
    <div class="previews">
      {previews.value.map((_, index) => (
        <MapPreview key={index} index={index} runId={runId} image={image} previews={previews} />
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
  draw: (side: number) => Pixels | null; // null: keep what is drawn
  label: string;
  isFaded?: boolean;
}

function Picture({ dependencies, draw, label, isFaded = false }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const paint = useAnimationFrame(() => {
    const side = Math.round(SIDE * Math.min(Math.max(devicePixelRatio || 1, 1), MAX_PIXEL_RATIO));
    const drawing = draw(side);
    const element = canvas.current;
    if (!drawing || !element) return;
    const { pixels, width, height } = drawing;
    if (element.width !== width) element.width = width;
    if (element.height !== height) element.height = height;
    const bytes = new Uint8ClampedArray(pixels.buffer as ArrayBuffer, 0, 4 * width * height);
    const data = new ImageData(bytes, width, height);
    element.getContext("2d")!.putImageData(data, 0, 0);
  });
  useSignalLayoutEffect(() => {
    void [loadedImages.value, ...dependencies.map((dependency) => dependency.value)];
    paint();
  });
  return (
    <canvas ref={canvas} width={SIDE} height={SIDE} role="img" aria-label={label} class={isFaded ? "faded" : ""} />
  );
}

/** A position of a map: row and column. */
interface MapPosition {
  i: number;
  j: number;
}

function MapPreview({ index, runId, image, previews }: Props & { index: number }) {
  const position = useSignal<MapPosition | null>(null);
  const buffer = useRef(new Uint32Array(0));
  const draw = (side: number): Pixels | null => {
    const { map } = previews.value[index] ?? {};
    const { width, height } = containedSize(map?.geometry.imageWidth ?? 1, map?.geometry.imageHeight ?? 1, side);
    if (buffer.current.length !== width * height) buffer.current = new Uint32Array(width * height);
    const pixels = buffer.current;
    if (!map || !image.value) return { pixels: pixels.fill(0), width, height };
    if (isLoading(runId, image.value)) return null;
    const region = { pixels, stride: width, x: 0, y: 0, width, height };
    paintCell(region, map.cell, map.geometry, imagePixels(runId, image.value, width, height), map.style);
    return { pixels, width, height };
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
