"""Where on the image the evidence for a class lies, by gradients between real images.

Expected gradients (Erion et al. 2021): integrated gradients whose baselines are images of the
data. The paths here lead from an image of another class to one of class c, so that a map says what
would turn other images into the class.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from service.core.insight.exchange import (
    FORWARD_BATCH,
    ExchangeSample,
    PixelNetwork,
    evidence,
    exchange_property,
)
from service.core.insight.finding import Region
from service.core.insight.operators import OPERATORS

PATH_STEPS = 3
"""Midpoints of the path at which gradients are taken."""

PATHS_PER_CLASS = 30
MAX_MAP_SIDE = 64
"""Pixels of a side of an exchange map; pixels of larger images are added up."""

REGION_SHARE = 0.5
"""The smallest rectangle with this share of the evidence is the region."""

MAX_REGION_SHARE_OF_IMAGE = 1 / 4
"""A region that covers more of the image is none: the evidence is spread over the surroundings."""


@dataclass(frozen=True)
class ExchangeMap:
    """Evidence by class and pixel, float32 (C, H, W).

    Each value is the mean contribution of a pixel to u_c on the way from other images to images of
    class c, as a share of the mean total; 0 for classes that were not tested. Of images with more
    than MAX_MAP_SIDE pixels a side, a value is that of several pixels.
    """

    values: npt.NDArray[np.float32]


def path_contributions(
    network: PixelNetwork, starts: Tensor, ends: Tensor, class_index: int
) -> Tensor:
    """Contribution of each pixel (N, H, W) to u_c(end) - u_c(start), summed over channels.

    By the midpoint rule with PATH_STEPS steps. The sum over pixels is the difference up to the
    rule's error (completeness, Sundararajan et al. 2017, proposition 1).
    """
    batches = []
    for start, end in zip(
        torch.split(starts, FORWARD_BATCH), torch.split(ends, FORWARD_BATCH), strict=True
    ):
        gradients = torch.zeros_like(start)
        for step in range(PATH_STEPS):
            position = (step + 0.5) / PATH_STEPS
            point = (start + position * (end - start)).requires_grad_()
            with torch.enable_grad():
                total = evidence(network(point))[:, class_index].sum()
                (gradient,) = torch.autograd.grad(total, point)
            gradients += gradient / PATH_STEPS
        batches.append((gradients * (end - start)).sum(dim=1))
    return torch.cat(batches).detach()


def locate_surround(network: PixelNetwork, sample: ExchangeSample, class_index: int) -> Region:
    """Where the surroundings of a class carry its evidence; the whole image if no place stands out.

    The paths lead from the surroundings of other classes to those of the class, with the object of
    the recipient throughout: their contributions are those to g(a, c) of the exchange test.
    """
    position = sample.classes.index(class_index)
    operator = OPERATORS["surround"]
    ends = exchange_property(operator, sample, position)
    rows = (sample.recipient_classes != position).nonzero().flatten()[:FORWARD_BATCH]
    totals = torch.zeros(ends.shape[-2:])
    for step in range(3):
        other_position = (position + 1 + step * max(1, (len(sample.classes) - 1) // 3)) % len(
            sample.classes
        )
        if other_position != position:
            starts = exchange_property(operator, sample, other_position)
            totals += path_contributions(network, starts[rows], ends[rows], class_index).sum(dim=0)
    return find_region(totals)


def find_region(contributions: Tensor) -> Region:
    """The smallest rectangle with REGION_SHARE of the positive contributions (H, W).

    Squares, and bands over the whole width or height, are tried by their area. The whole image
    where even MAX_REGION_SHARE_OF_IMAGE holds less.
    """
    height, width = contributions.shape
    positive = contributions.clamp(min=0).double()
    total = positive.sum().item()
    sums = torch.zeros(height + 1, width + 1, dtype=torch.float64)
    sums[1:, 1:] = positive.cumsum(0).cumsum(1)
    squares = [(side, side) for side in range(1, min(height, width) + 1)]
    bands = [(rows, width) for rows in range(1, height)] + [(height, c) for c in range(1, width)]
    for rows, columns in sorted(squares + bands, key=lambda shape: shape[0] * shape[1]):
        if total <= 0 or rows * columns > MAX_REGION_SHARE_OF_IMAGE * height * width:
            break
        windows = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns]
        windows = windows + sums[:-rows, :-columns]
        best = int(windows.argmax())
        share = windows.flatten()[best].item() / total
        if share >= REGION_SHARE:
            top, left = divmod(best, windows.shape[1])
            return Region(top, left, rows, columns, share)
    return Region(0, 0, height, width, 1.0)


def map_exchanges(network: PixelNetwork, sample: ExchangeSample, class_count: int) -> ExchangeMap:
    """What would turn other images into each class, with the objects as well."""
    height, width = sample.objects.images.shape[-2:]
    values = np.zeros((class_count, height, width), np.float32)
    generator = torch.Generator().manual_seed(sample.seed)
    for position, class_index in enumerate(sample.classes):
        other_rows = torch.cat([r for p, r in enumerate(sample.pool_rows) if p != position])
        starts = other_rows[torch.randperm(len(other_rows), generator=generator)[:PATHS_PER_CLASS]]
        own_rows = sample.pool_rows[position]
        ends = own_rows[torch.randint(len(own_rows), (len(starts),), generator=generator)]
        images = sample.objects.images
        mean = path_contributions(network, images[starts], images[ends], class_index).mean(dim=0)
        total = mean.sum().item()
        if total > 0:
            values[class_index] = (mean / total).numpy()
    return ExchangeMap(_add_up_pixels(values))


def _add_up_pixels(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Maps (C, H, W) of at most MAX_MAP_SIDE pixels a side, with the same sums."""
    sides = values.shape[1:]
    reduced_sides = (min(sides[0], MAX_MAP_SIDE), min(sides[1], MAX_MAP_SIDE))
    if reduced_sides == sides:
        return values
    means = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(values), reduced_sides)
    factor = sides[0] * sides[1] / (reduced_sides[0] * reduced_sides[1])
    reduced: npt.NDArray[np.float32] = (means * factor).numpy()
    return reduced
