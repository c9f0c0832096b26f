"""One map from several layers' maps, on the positions of the finest layer."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.models.placement import Placement

Fusion = Callable[[Tensor], Tensor]
"""Maps before their ReLU of L layers, (L, N, c, H, W), each scaled to a peak of 1, to one map."""


def mean(maps: Tensor) -> Tensor:
    """The mean over layers (N, c, H, W)."""
    return maps.mean(0)


def product(maps: Tensor) -> Tensor:
    """The product over layers of the maps after ReLU, each rescaled to 0..1, (N, c, H, W)."""
    return min_max_scaled(maps.clamp(min=0)).prod(0)


def min_max_scaled(channels: Tensor) -> Tensor:
    """(x - min) / (max - min) over positions, (..., H, W); a constant channel becomes 0.

    A channel that is not finite has no finite value here. (Other libraries add about 1e-7 to the
    divisor, so that channels of small values fade.)
    """
    low, high = channels.amin((-2, -1), keepdim=True), channels.amax((-2, -1), keepdim=True)
    span = high - low
    is_constant = span == 0
    return torch.where(is_constant, 0, (channels - low) / torch.where(is_constant, 1, span))


def fuse(layers: Sequence[Tensor], placements: Sequence[Placement], fusion: Fusion) -> Tensor:
    """Maps (N, c, H_l, W_l) of each layer as one (N, c, H, W), H and W those of the finest layer.

    Each is divided by its own largest absolute value, because layers differ by orders of magnitude,
    and sampled bilinearly where the finest layer's positions lie on the image.
    """
    finest = finest_layer([(maps.shape[2], maps.shape[3]) for maps in layers])
    size = (layers[finest].shape[2], layers[finest].shape[3])
    resampled = []
    for maps, placement in zip(layers, placements, strict=True):
        peak = maps.abs().amax((-2, -1), keepdim=True)
        normalized = torch.where(peak == 0, 0, maps / torch.where(peak == 0, 1, peak))
        resampled.append(_resample(normalized, placement, placements[finest], size))
    return fusion(torch.stack(resampled))


def finest_layer(sizes: Sequence[tuple[int, int]]) -> int:
    """Index of the size with the most positions; the first of several."""
    return max(range(len(sizes)), key=lambda i: sizes[i][0] * sizes[i][1])


def _resample(
    maps: Tensor, placement: Placement, grid_placement: Placement, size: tuple[int, int]
) -> Tensor:
    """Maps (N, c, H, W) with `placement`, sampled at `size` positions with `grid_placement`."""
    axes = []
    for count, grid_count in zip(maps.shape[2:], size, strict=True):
        positions = torch.arange(grid_count, device=maps.device)
        pixels = grid_placement.first_center + grid_placement.step * positions
        index = (pixels - placement.first_center) / placement.step
        axes.append((2 * index + 1) / count - 1)  # grid_sample's coordinates
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    grid = grid.to(maps.dtype).expand(len(maps), -1, -1, -1)
    # Beyond a layer's outermost center only its outermost value is known.
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
