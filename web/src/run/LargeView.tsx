// The selected image at the scrubbed epoch, large: input, and each method's map with values to point at.

import { useSignal, type ReadonlySignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { arrived, imagePixels, isComing } from "../maps/images";
import { valueAt, type MapCell } from "../maps/levels";
import { paint, type Geometry, type Look } from "../maps/paint";
import { useFrame } from "../parts/frame";
import { useSignalLayoutEffect } from "../parts/signalLayoutEffect";
import { significant, t } from "../text";
import { imageName } from "./imageName";

const SIZE = 224; // CSS pixels, at least as many as it is shown in

/** Device pixels of a picture's side. */
const side = (): number => Math.round(SIZE * Math.min(Math.max(devicePixelRatio || 1, 1), 2));

export interface Shot {
  title: string;
  cell: MapCell | null;
  geometry: Geometry | null;
  look: Look;
}

interface Props {
  dataset: string;
  image: ReadonlySignal<string | null>;
  shots: ReadonlySignal<Shot[]>;
}

export function LargeView({ dataset, image, shots }: Props) {
  return (
    <div class="large">
      {shots.value.map((_, index) => (
        <MapPicture key={index} index={index} dataset={dataset} image={image} shots={shots} />
      ))}
      <figure>
        <Picture of={[image]} draw={(size) => (image.value && !isComing(dataset, image.value) ? imagePixels(dataset, image.value, size) : null)} label={t("preview.input")} />
        <figcaption>{t("preview.input")} <code>{imageName(image.value)}</code></figcaption>
      </figure>
      <p class="note">{t("preview.hint")}</p>
    </div>
  );
}

interface PictureProps {
  of: readonly ReadonlySignal<unknown>[]; // drawn anew when one of them changes
  draw: (size: number) => Uint32Array | null;
  label: string;
}

function Picture({ of, draw, label }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const show = useFrame(() => {
    const size = side();
    const pixels = draw(size);
    const element = canvas.current;
    if (!pixels || !element) return;
    if (element.width !== size) element.width = element.height = size;
    const data = new ImageData(new Uint8ClampedArray(pixels.buffer as ArrayBuffer, 0, 4 * size * size), size, size);
    element.getContext("2d")!.putImageData(data, 0, 0);
  });
  useSignalLayoutEffect(() => {
    void [arrived.value, ...of.map((one) => one.value)];
    show();
  });
  return <canvas ref={canvas} role="img" aria-label={label} />;
}

function MapPicture({ index, dataset, image, shots }: Props & { index: number }) {
  const pointed = useSignal<{ i: number; j: number } | null>(null);
  const painted = useRef(new Uint32Array(0));
  const draw = (size: number) => {
    const shot = shots.value[index];
    if (painted.current.length !== size * size) painted.current = new Uint32Array(size * size);
    const out = painted.current;
    if (!shot?.cell || !shot.geometry || !image.value) return out.fill(0);
    if (isComing(dataset, image.value)) return null;
    paint(out, size, 0, 0, size, shot.cell, shot.geometry, imagePixels(dataset, image.value, size), shot.look);
    return out;
  };
  const shot = shots.value[index];
  if (!shot) return null;
  const point = (event: PointerEvent) => {
    const at = shot.geometry && position(event, shot.geometry);
    pointed.value = at ?? null;
  };
  return (
    <figure>
      <div onPointerMove={point} onPointerLeave={() => (pointed.value = null)}>
        <Picture of={[shots, image]} draw={draw} label={`${shot.title}: ${summary(shot.cell)}`} />
      </div>
      <figcaption>
        <b>{shot.title}</b> <span class={shot.cell && shot.cell.blank !== "none" ? "told blank" : "told"}>
          {pointed.value && shot.cell && shot.geometry ? told(shot.cell, shot.geometry, pointed.value) : summary(shot.cell)}
        </span>
      </figcaption>
    </figure>
  );
}

/** The map's position nearest to the pointer, or null beyond the outermost. */
function position(event: PointerEvent, geometry: Geometry): { i: number; j: number } | null {
  const bounds = (event.currentTarget as HTMLElement).getBoundingClientRect();
  const along = (offset: number, extent: number, pixels: number, count: number) => {
    const at = Math.round(((offset / extent) * pixels - 0.5 - geometry.first) / geometry.step);
    return at >= 0 && at < count ? at : null;
  };
  const i = along(event.clientY - bounds.top, bounds.height, geometry.imageHeight, geometry.height);
  const j = along(event.clientX - bounds.left, bounds.width, geometry.imageWidth, geometry.width);
  return i === null || j === null ? null : { i, j };
}

function told(cell: MapCell, geometry: Geometry, { i, j }: { i: number; j: number }): string {
  if (cell.blank === "not-finite") return summary(cell);
  return t("preview.value", { i, j, value: significant(valueAt(cell, geometry.width, i, j)) });
}

export function summary(cell: MapCell | null): string {
  if (!cell) return t("loading");
  return cell.blank === "none" ? t("reel.peak", { peak: significant(cell.peak) }) : t(`blank.${cell.blank}`);
}
