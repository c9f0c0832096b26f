import { imageBackground, loadedImages } from "../maps/images";

const SIDE = 22; // CSS pixels

/** An input image beside its row. */
export function Thumbnail({ dataset, image }: { dataset: string; image: string }) {
  void loadedImages.value;
  return <span class="thumbnail" style={imageBackground(dataset, image, SIDE)} aria-hidden="true" />;
}
