"""Single images uint8 (D, H, W): conversion to PNG and back, and a run's probe images."""

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
from service.core.resizing import PixelArray
from service.core.spec import Probes
from service.errors import CamreelError

MAX_PIXELS = 2**24

Pixels = Tensor
"""An image, uint8 (D, h, w)."""


@dataclass(frozen=True)
class LabeledImage:
    """An image of a dataset: its reference, pixels uint8 (D, H, W), and class index."""

    reference: ImageReference
    pixels: Tensor
    label: int


@dataclass(frozen=True)
class ProbeImage:
    """A probe image of a run. For an upload, the reference is text and the label None."""

    reference: ImageReference | str
    pixels: Tensor
    label: int | None


def select_image(data: Dataset, reference: ImageReference) -> LabeledImage:
    """The image of a reference, which must be within the dataset."""
    split = data.split(reference.split)
    return LabeledImage(
        reference, split.images[reference.index], int(split.labels[reference.index])
    )


def labeled_image(reference: ImageReference, pixels: PixelArray, label: int) -> LabeledImage:
    """An image of pixels uint8 (D, H, W), which are copied."""
    return LabeledImage(reference, torch.from_numpy(pixels.copy()), label)


def probe_images(
    data: Dataset, probes: Probes, uploaded: Mapping[str, bytes] | None = None
) -> list[ProbeImage]:
    """The first `per_class` test images of each class, then the listed images.

    `uploaded` holds the PNGs of all uploads among them, by reference.
    """
    references: list[ImageReference | str] = [
        ImageReference("test", int(index))
        for label in range(len(data.class_names))
        for index in (data.test.labels == label).nonzero()[: probes.per_class, 0]
    ]
    uploaded_pngs = uploaded or {}
    references += [
        text if text in uploaded_pngs else ImageReference.parse(text) for text in probes.images
    ]
    return [_probe(data, reference, uploaded_pngs) for reference in dict.fromkeys(references)]


def _probe(
    data: Dataset, reference: ImageReference | str, uploaded: Mapping[str, bytes]
) -> ProbeImage:
    if isinstance(reference, str):
        return ProbeImage(reference, from_png(uploaded[reference]), None)
    image = select_image(data, reference)
    return ProbeImage(reference, image.pixels, image.label)


def to_png(pixels: Tensor) -> bytes:
    """Lossless PNG of gray (1, H, W) or RGB (3, H, W) pixels uint8."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return encode_png(array[:, :, 0] if array.shape[2] == 1 else array)


def tile_images(images: Sequence[Tensor], a_row: int) -> Tensor:
    """Images (D, H, W) of one size as one: image i in row i // columns; empty cells are 0."""
    depth, height, width = images[0].shape
    columns = min(len(images), a_row)
    rows = -(-len(images) // columns)
    grid = torch.zeros(rows * columns, depth, height, width, dtype=torch.uint8)
    grid[: len(images)] = torch.stack(list(images))
    folded = grid.reshape(rows, columns, depth, height, width).permute(2, 0, 3, 1, 4)
    return folded.reshape(depth, rows * height, columns * width)


def from_png(png: bytes) -> Pixels:
    """Pixels uint8 (D, H, W) of a PNG from `to_png`."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        array = np.array(image)
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1).contiguous()


def read_size(png: bytes) -> tuple[int, int, int] | None:
    """The shape (D, H, W) that the header of a gray or RGB PNG states; None for other bytes."""
    try:
        header = read_png(png, max_pixels=MAX_PIXELS).header
    except CamreelError:
        return None
    depth = {GRAY: 1, RGB: 3}.get(header.color_type)
    return None if depth is None else (depth, header.height, header.width)


def canonical_png(png: bytes, shape: tuple[int, int, int]) -> bytes | None:
    """The same pixels as a canonical PNG; None unless it is a PNG of 8 bits, gray or RGB, that has
    that shape (D, H, W).
    """
    depth, height, width = shape
    if depth not in (1, 3):
        return None
    try:
        data = read_png(png, max_pixels=height * width).data
    except CamreelError:
        return None
    return data if is_canonical_png(data, shape) else None


def is_canonical_png(png: bytes, shape: tuple[int, int, int]) -> bool:
    """Whether the bytes are a PNG in the form of `to_png`, of pixels of that shape (D, H, W).

    A complete PNG of 8 bits, gray or RGB, without metadata or a trailer. No other is decoded.
    """
    depth, height, width = shape
    header = PngHeader(width, height, 8, {1: GRAY, 3: RGB}[depth], interlaced=False)
    try:
        contents = read_png(png, max_pixels=height * width)
        return contents.header == header and contents.data == png and from_png(png).shape == shape
    except (CamreelError, OSError, ValueError, SyntaxError):
        return False
