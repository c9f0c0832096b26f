"""From stored pixels to a network's input, and what removed pixels are replaced by."""

import math

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.input import InputSpec

BLUR_SHARE = 1 / 16
"""Standard deviation of the blur, as a share of the image's shorter side."""


def to_network_input(images: Tensor, input_spec: InputSpec | None = None) -> Tensor:
    """Images uint8 (N, D, H, W), 0..255, as float32: (level / 255 - mean) / std by channel.

    Without an input, levels become 0..1.
    """
    values = images.to(torch.float32).div_(255)
    if input_spec is None or input_spec.is_unnormalized:
        return values
    return values.sub_(_by_channel(input_spec.mean, values)).div_(
        _by_channel(input_spec.std, values)
    )


def level_bounds(images: Tensor, input_spec: InputSpec | None) -> tuple[Tensor, Tensor]:
    """What levels 0 and 255 are as input, each (1, D, 1, 1)."""
    black = images.new_zeros(1, images.shape[1], 1, 1)
    white = torch.ones_like(black)
    if input_spec is None or input_spec.is_unnormalized:
        return black, white
    mean, std = _by_channel(input_spec.mean, images), _by_channel(input_spec.std, images)
    return (black - mean) / std, (white - mean) / std


def baseline_images(images: Tensor, input_spec: InputSpec | None) -> Tensor:
    """What pixels of the input (N, D, H, W) are replaced by to remove them, of the same shape.

    `mean`: the input's mean, which is 0; `black`: level 0; `blur`: the images, blurred by a
    Gaussian. Without an input, black.
    """
    if input_spec is None or input_spec.baseline == "black":
        return level_bounds(images, input_spec)[0].expand_as(images)
    if input_spec.baseline == "mean":
        return torch.zeros_like(images)
    return blur(images, BLUR_SHARE * min(images.shape[-2:]))


def has_zero_baseline(input_spec: InputSpec | None) -> bool:
    """Whether removed pixels become 0, so that removing is multiplying."""
    if input_spec is None or input_spec.baseline == "mean":
        return True
    return input_spec.baseline == "black" and not any(input_spec.mean)


def blur(images: Tensor, deviation: float) -> Tensor:
    """Images (N, D, H, W) blurred by a Gaussian of that standard deviation in pixels.

    Pixels beyond the border are the image, reflected.
    """
    for dimension in (-1, -2):
        radius = min(math.ceil(3 * deviation), images.shape[dimension] - 1)
        offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
        weights = torch.exp(-(offsets**2) / (2 * deviation**2))
        weights = weights / weights.sum()
        shape = (1, 1, 1, -1) if dimension == -1 else (1, 1, -1, 1)
        padding = (radius, radius, 0, 0) if dimension == -1 else (0, 0, radius, radius)
        padded = F.pad(images, padding, mode="reflect")
        kernel = weights.view(shape).expand(images.shape[1], 1, *weights.view(shape).shape[2:])
        images = F.conv2d(padded, kernel, groups=images.shape[1])
    return images


def _by_channel(values: list[float], images: Tensor) -> Tensor:
    return torch.tensor(values, dtype=images.dtype, device=images.device).view(1, -1, 1, 1)
