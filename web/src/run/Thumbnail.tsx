import { imageBackground, loadedImages } from "../maps/images";

const SIDE = 22; // CSS pixels of the longer side

/** An input image beside its row. */
export function Thumbnail({ runId, image }: { runId: number; image: string }) {
  void loadedImages.value;
  return <span class="thumbnail" style={imageBackground(runId, image, SIDE)} aria-hidden="true" />;
}
