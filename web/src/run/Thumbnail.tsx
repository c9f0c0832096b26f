import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { arrived, imagePixels } from "../maps/images";

const SIDE = 44; // device pixels of a screen of twice the usual density

/** An input image beside its row. */
export function Thumbnail({ dataset, image }: { dataset: string; image: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useSignalEffect(() => {
    void arrived.value;
    const data = new ImageData(SIDE, SIDE);
    new Uint32Array(data.data.buffer).set(imagePixels(dataset, image, SIDE));
    canvas.current?.getContext("2d")?.putImageData(data, 0, 0);
  });
  return <canvas ref={canvas} class="thumbnail" width={SIDE} height={SIDE} aria-hidden="true" />;
}
