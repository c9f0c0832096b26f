"""Maps on the image's pixels: resampled to where the layer's positions lie, as they are drawn."""

import torch
from torch import Tensor

from service.core.cams.fusion import finest_layer
from service.core.models import Placement, StagedNetwork
from service.core.models.placement import compute_placement


@torch.no_grad()
def layer_placement(network: StagedNetwork, layers: str, image: Tensor) -> Placement | None:
    """Where positions of a map of `conv2`, or of several layers `conv1,conv2`, lie on an image.

    By receptive-field centres; None where they are not known. Maps of several layers lie on the
    finest one's positions; the layer `input` is the pixels themselves. `image` is (1, D, h, w).
    Raises UnknownName.
    """
    parts = [network.split_at(name)[0] for name in layers.split(",")]
    finest = 0
    if len(parts) > 1:
        sizes = []
        for below in parts:
            signal = image
            for stage in below:
                signal = stage(signal)
            sizes.append((signal.shape[2], signal.shape[3]))
        finest = finest_layer(sizes)
    try:
        return compute_placement(parts[finest])
    except (TypeError, ValueError):
        return None


def resample_to_pixels(maps: Tensor, size: tuple[int, int], place: Placement | None) -> Tensor:
    """Maps (N, H, W) as (N, h, w) on an image of `size`, bilinear between their places on it.

    Values fade to 0 beyond the outermost positions, as in the pictures (`core/render/cells.py`):
    pixel p takes the sum over positions i of max(0, 1 - |at_p - i|) L_i, on each axis, at_p being
    p's place among the positions. Where the place is not known, positions are spread evenly.
    """
    rows, columns = (
        _shares(place or Placement.evenly_spaced(count, pixels), count, pixels).to(maps)
        for count, pixels in zip(maps.shape[1:], size, strict=True)
    )
    return rows @ maps @ columns.T


def _shares(place: Placement, count: int, pixels: int) -> Tensor:
    """How much of each of `count` positions every pixel of an axis takes (pixels, count)."""
    at = torch.from_numpy(place.positions(count, pixels, pixels))
    return (1 - (at.unsqueeze(1) - torch.arange(count)).abs()).clamp_(min=0)
