"""Objects of images: where the thing lies that the label names, as far as gray levels show it.

There is no fallback for images without a plausible object: a wrong mask takes strokes of the object
for its surroundings, and accuses networks that look at the object.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

CONTRAST_THRESHOLD = 0.12
"""An object differs from the image's median by more than this share of the largest difference."""

MIN_AREA, MAX_AREA = 0.005, 0.6
"""Shares of the image that a plausible object covers."""

MAX_BORDER_SHARE = 0.3
"""Share of the image's border that a plausible object covers, at most: photos fill theirs."""

MIN_CONTRAST = 0.05
"""Difference between an object and the median, at least; levels are 0..1."""

MAX_COMPONENT_SIDE = 64
"""Components of larger images are found in a reduced copy: their number of steps is the side."""

PIXELS_PER_DILATION = 14
"""Pixels of the image's shorter side for each pixel by which the object is dilated."""


@dataclass(frozen=True)
class ObjectImages:
    """Images with the masks of their objects, all of the same number."""

    images: Tensor  # float32 (N, D, H, W), 0..1
    cores: Tensor  # bool (N, 1, H, W), the objects
    masks: Tensor  # bool (N, 1, H, W), the objects and a margin around them
    medians: Tensor  # float32 (N, D, 1, 1)
    is_plausible: Tensor  # bool (N,)

    def select(self, indices: Tensor) -> "ObjectImages":
        """The images of those indices int64 (M,)."""
        return ObjectImages(
            self.images[indices],
            self.cores[indices],
            self.masks[indices],
            self.medians[indices],
            self.is_plausible[indices],
        )


def find_objects(images: Tensor, masks: Tensor | None = None) -> ObjectImages:
    """The objects of images float32 (N, D, H, W), 0..1.

    The object is the largest 8-connected component of the pixels that differ from the image's
    median by more than CONTRAST_THRESHOLD of the largest difference. `masks` bool (N, 1, H, W) are
    the dataset's own, which are used as they are.
    """
    medians = images.flatten(2).median(dim=2).values[:, :, None, None]
    radius = max(2, round(min(images.shape[-2:]) / PIXELS_PER_DILATION))
    if masks is not None:
        area = masks.flatten(1).float().mean(dim=1)
        is_plausible = (area > 0) & (area < 1)
        return ObjectImages(images, masks, dilate(masks, radius), medians, is_plausible)
    contrast = (images - medians).abs().amax(dim=1, keepdim=True)
    peak = contrast.amax(dim=(1, 2, 3), keepdim=True)
    cores = largest_components(contrast > CONTRAST_THRESHOLD * peak)
    area = cores.flatten(1).float().mean(dim=1)
    is_plausible = (
        (area >= MIN_AREA)
        & (area <= MAX_AREA)
        & (_border_share(cores) <= MAX_BORDER_SHARE)
        & (peak.flatten() >= MIN_CONTRAST)
    )
    return ObjectImages(images, cores, dilate(cores, radius), medians, is_plausible)


def dilate(masks: Tensor, radius: int) -> Tensor:
    """Masks bool (N, 1, H, W) with all pixels at most `radius` away in both directions."""
    return F.max_pool2d(masks.float(), 2 * radius + 1, stride=1, padding=radius) > 0


def largest_components(masks: Tensor) -> Tensor:
    """The largest 8-connected component of each mask, bool (N, 1, H, W).

    Of equally large components, the one with the last pixel in reading order.
    """
    size = masks.shape[-2:]
    if max(size) > MAX_COMPONENT_SIDE:
        reduced = F.adaptive_max_pool2d(masks.float(), [min(s, MAX_COMPONENT_SIDE) for s in size])
        components = largest_components(reduced > 0)
        return masks & (F.interpolate(components.float(), size=size) > 0)
    numbers = torch.arange(1, size[0] * size[1] + 1, dtype=torch.float32, device=masks.device)
    labels = numbers.view(1, 1, *size) * masks
    while True:
        # Each step carries the largest number of a component one pixel further.
        spread = F.max_pool2d(labels, 3, stride=1, padding=1) * masks
        if torch.equal(spread, labels):
            break
        labels = spread
    flat = labels.flatten(1).long()
    counts = torch.zeros(len(flat), size[0] * size[1] + 1, dtype=torch.int64, device=flat.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    counts[:, 0] = 0
    # The last of equal maxima, whatever the device.
    largest = counts.shape[1] - 1 - counts.flip(1).argmax(dim=1)
    return masks & (labels == largest.view(-1, 1, 1, 1))


def _border_share(masks: Tensor) -> Tensor:
    """Share of the border's pixels that each mask covers, (N,)."""
    rows, columns = masks[:, 0, (0, -1), :].flatten(1), masks[:, 0, 1:-1, (0, -1)].flatten(1)
    return torch.cat([rows, columns], dim=1).float().mean(dim=1)
