"""Random changes of training images, drawn anew for each image of each batch.

The transforms of torchvision.transforms.v2 draw one set of random numbers for a whole batch. These
draw one for each image and apply it to the whole batch at once. Their results are those of v2's
functions `horizontal_flip`, `affine` and `crop`. torchvision is imported where it is needed: that
takes longer than importing torch, and most runs do without it.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from service.core.parameters import Parameters


class Augmentation(Parameters):
    """Random changes of training images, in the order of the fields; none by default."""

    flip_probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that an image is mirrored left to right, which changes what digits mean."""
    shift_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Largest shift, as a fraction of each side. Pixels from outside have the level of the
    dataset's background."""
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 0
    """Pixels added at each side, with the background's level, before a window of the original
    size is cropped at random."""

    def apply(self, images: Tensor, background: int = 0) -> Tensor:
        """Changed copies of images uint8 (N, D, H, W), or the images themselves if none is changed.

        Random numbers come from torch's generator of the images' device.
        """
        if self.flip_probability > 0:
            images = _flip(images, self.flip_probability)
        if self.shift_fraction > 0:
            reach = [round(self.shift_fraction * side) for side in images.shape[2:]]
            images = _shift(images, reach[0], reach[1], background)
        if self.crop_padding > 0:
            images = _shift(images, self.crop_padding, self.crop_padding, background)
        return images


def _flip(images: Tensor, probability: float) -> Tensor:
    from torchvision.transforms.v2 import functional

    flips = torch.rand(len(images), device=images.device) < probability
    return torch.where(flips[:, None, None, None], functional.horizontal_flip(images), images)


def _shift(images: Tensor, rows: int, columns: int, background: int) -> Tensor:
    """Each image shifted by up to so many rows and columns, uniformly drawn."""
    from torchvision.transforms.v2 import functional

    padded = functional.pad(images, [columns, rows], fill=background)
    tops = _draw(len(images), 2 * rows, images.device)
    lefts = _draw(len(images), 2 * columns, images.device)
    height, width = images.shape[2:]
    # A view of all windows (N, D, 2 rows + 1, 2 columns + 1, H, W): only the selected are copied.
    windows: Tensor = padded.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, tops, lefts]


def _draw(count: int, maximum: int, device: torch.device) -> Tensor:
    return torch.randint(maximum + 1, (count,), device=device)
