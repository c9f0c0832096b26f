import { arrived, imageBackground } from "../maps/images";

const SIDE = 22; // CSS pixels

/** An input image beside its row. */
export function Thumbnail({ dataset, image }: { dataset: string; image: string }) {
  void arrived.value;
  return <span class="thumbnail" style={imageBackground(dataset, image, SIDE)} aria-hidden="true" />;
}
