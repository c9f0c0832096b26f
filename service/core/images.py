"""Single images: uint8 (D, H, W) tensors to PNG and back, and which ones a run watches."""

import io
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from service.core.datasets.dataset import Dataset, ImageReference
from service.core.render.png import encode_png
from service.core.spec import Probes


@dataclass(frozen=True)
class LabelledImage:
    """An image of a dataset: its reference, pixels uint8 (D, H, W), and class index."""

    reference: ImageReference
    pixels: Tensor
    label: int


def pick(data: Dataset, reference: ImageReference) -> LabelledImage:
    """The image that a reference names; the reference is within the dataset."""
    split = data.split(reference.split)
    return LabelledImage(
        reference, split.images[reference.index], int(split.labels[reference.index])
    )


def probe_images(data: Dataset, probes: Probes) -> list[LabelledImage]:
    """The first `per_class` test images of each class, class by class, then those listed."""
    references = [
        ImageReference("test", int(index))
        for label in range(len(data.class_names))
        for index in (data.test.labels == label).nonzero()[: probes.per_class, 0]
    ]
    references += [ImageReference.parse(text) for text in probes.images]
    return [pick(data, reference) for reference in dict.fromkeys(references)]


def as_input(images: Tensor) -> Tensor:
    """What a network takes: uint8 (N, D, H, W) -> float32, 0..1."""
    return images.to(torch.float32).div_(255)


def to_png(pixels: Tensor) -> bytes:
    """Lossless PNG of uint8 (1, H, W) grey or (3, H, W) colour."""
    array = pixels.permute(1, 2, 0).contiguous().numpy()
    return encode_png(array[:, :, 0] if array.shape[2] == 1 else array)


def from_png(png: bytes) -> Tensor:
    """The pixels uint8 (D, H, W) of a PNG that `to_png` wrote."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        array = np.array(image)
    return torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1).contiguous()


def is_png_of(png: bytes, shape: tuple[int, int, int]) -> bool:
    """Whether the bytes are a whole 8-bit PNG of that shape (D, H, W); no other is decoded."""
    depth, height, width = shape
    modes = {1: "L", 3: "RGB"}
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            # By the header: a picture that claims to be enormous never takes the memory.
            if image.size != (width, height) or image.mode != modes.get(depth):
                return False
            image.load()
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, Image.DecompressionBombError):
        return False
    return True
