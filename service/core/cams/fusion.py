"""One map from several layers', on the positions of the finest of them."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.models.placement import Placement

Fusion = Callable[[Tensor], Tensor]
"""Maps before their ReLU of L layers, (L, N, c, H, W), each scaled to a peak of 1, to one."""


def mean(maps: Tensor) -> Tensor:
    """Their mean: each layer has the same say."""
    return maps.mean(0)


def product(maps: Tensor) -> Tensor:
    """The product of what they show: what stays is where all layers look. arXiv:2605.14641."""
    shown = maps.clamp(min=0)
    low, high = shown.amin((-2, -1), keepdim=True), shown.amax((-2, -1), keepdim=True)
    extent = high - low
    flat = extent == 0
    return torch.where(flat, 0, (shown - low) / torch.where(flat, 1, extent)).prod(0)


def fuse(layers: Sequence[Tensor], places: Sequence[Placement], fusion: Fusion) -> Tensor:
    """Maps (N, c, H_l, W_l) of each layer as one (N, c, H, W), H and W the largest of them.

    Each is divided by its own largest absolute value, because layers differ by orders of magnitude,
    and read, bilinearly, where the finest layer's positions lie on the image.
    """
    finest = finest_layer([(maps.shape[2], maps.shape[3]) for maps in layers])
    size = (layers[finest].shape[2], layers[finest].shape[3])
    scaled = []
    for maps, place in zip(layers, places, strict=True):
        limit = maps.abs().amax((-2, -1), keepdim=True)
        even = torch.where(limit == 0, 0, maps / torch.where(limit == 0, 1, limit))
        scaled.append(_read_at(even, place, places[finest], size))
    return fusion(torch.stack(scaled))


def finest_layer(sizes: Sequence[tuple[int, int]]) -> int:
    """Which of those sizes has the most positions; the first of equals."""
    return max(range(len(sizes)), key=lambda i: sizes[i][0] * sizes[i][1])


def _read_at(maps: Tensor, place: Placement, at: Placement, size: tuple[int, int]) -> Tensor:
    """Maps (N, c, H, W) placed by `place`, read at `size` positions placed by `at`."""
    axes = []
    for count, wanted in zip(maps.shape[2:], size, strict=True):
        pixels = at.first + at.step * torch.arange(wanted, device=maps.device)
        index = (pixels - place.first) / place.step
        axes.append((2 * index + 1) / count - 1)  # as grid_sample counts
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    grid = grid.to(maps.dtype).expand(len(maps), -1, -1, -1)
    # Beyond a layer's outermost centre its outermost value is all that is known.
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
