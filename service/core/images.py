"""Single images: uint8 (D, H, W) tensors to PNG and back, and which ones a run watches."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from service.core.datasets.dataset import Dataset, ImageReference
from service.core.png import encode_png
from service.core.png_chunks import GRAY, RGB, PngHeader, read_png
from service.core.spec import Probes
from service.errors import CamreelError


@dataclass(frozen=True)
class LabeledImage:
    """An image of a dataset: its reference, pixels uint8 (D, H, W), and class index."""

    reference: ImageReference
    pixels: Tensor
    label: int


@dataclass(frozen=True)
class ProbeImage:
    """An image that a run watches; of an upload, the reference is its text, and label None."""

    reference: ImageReference | str
    pixels: Tensor
    label: int | None


def select_image(data: Dataset, reference: ImageReference) -> LabeledImage:
    """The image that a reference names; the reference is within the dataset."""
    split = data.split(reference.split)
    return LabeledImage(
        reference, split.images[reference.index], int(split.labels[reference.index])
    )


def probe_images(
    data: Dataset, probes: Probes, uploaded: Mapping[str, bytes] | None = None
) -> list[ProbeImage]:
    """The first `per_class` test images of each class, class by class, then those listed.

    `uploaded` has the PNGs of all uploads among those, by reference.
    """
    references: list[ImageReference | str] = [
        ImageReference("test", int(index))
        for label in range(len(data.class_names))
        for index in (data.test.labels == label).nonzero()[: probes.per_class, 0]
    ]
    there = uploaded or {}
    references += [text if text in there else ImageReference.parse(text) for text in probes.images]
    return [_probe(data, reference, there) for reference in dict.fromkeys(references)]


def _probe(
    data: Dataset, reference: ImageReference | str, uploaded: Mapping[str, bytes]
) -> ProbeImage:
    if isinstance(reference, str):
        return ProbeImage(reference, from_png(uploaded[reference]), None)
    found = select_image(data, reference)
    return ProbeImage(reference, found.pixels, found.label)


def to_png(pixels: Tensor) -> bytes:
    """Lossless PNG of uint8 (1, H, W) grey or (3, H, W) colour."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return encode_png(array[:, :, 0] if array.shape[2] == 1 else array)


def tile_images(images: Sequence[Tensor], a_row: int) -> Tensor:
    """Images (D, H, W), all alike, as one: image i in row i // a_row, column i % a_row; rest 0."""
    depth, height, width = images[0].shape
    columns = min(len(images), a_row)
    rows = -(-len(images) // columns)
    grid = torch.zeros(rows * columns, depth, height, width, dtype=torch.uint8)
    grid[: len(images)] = torch.stack(list(images))
    folded = grid.reshape(rows, columns, depth, height, width).permute(2, 0, 3, 1, 4)
    return folded.reshape(depth, rows * height, columns * width)


def from_png(png: bytes) -> Tensor:
    """The pixels uint8 (D, H, W) of a PNG that `to_png` wrote."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        array = np.array(image)
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1).contiguous()


def is_canonical_png(png: bytes, shape: tuple[int, int, int]) -> bool:
    """Whether the bytes are what `to_png` writes for pixels of that shape (D, H, W).

    A whole PNG of 8 bits, gray or RGB, without metadata or a trailer. No other is decoded.
    """
    depth, height, width = shape
    header = PngHeader(width, height, 8, {1: GRAY, 3: RGB}[depth], interlaced=False)
    try:
        parsed = read_png(png, max_pixels=height * width)
        return parsed.header == header and parsed.data == png and from_png(png).shape == shape
    except (CamreelError, OSError, ValueError, SyntaxError):
        return False
