"""Maps resampled from a layer's positions to the image's pixels, as they are drawn."""

import torch
from torch import Tensor

from service.core.cams.fusion import finest_layer
from service.core.models import Placement
from service.core.models.network import Network


@torch.no_grad()
def layer_placement(network: Network, layers: str, image: Tensor) -> Placement | None:
    """The placement of maps of `conv2`, or of several layers `conv1,conv2`, on an image.

    By receptive-field centers; None where they are not known. Maps of several layers lie on the
    finest layer's positions; the layer `input` is the pixels themselves. `image` is (1, D, h, w).
    Raises UnknownName.
    """
    splits = [network.split(name) for name in layers.split(",")]
    if len(splits) == 1:
        return splits[0].placement
    shapes = [split.below(image)[0].shape for split in splits]
    return splits[finest_layer([(shape[2], shape[3]) for shape in shapes])].placement


def resample_to_pixels(maps: Tensor, size: tuple[int, int], placement: Placement | None) -> Tensor:
    """Maps (N, H, W) as (N, h, w) on an image of `size`, bilinear between their positions.

    Values fade to 0 beyond the outermost positions, as in `core/render/cells.py`: pixel p is the
    sum over positions i of max(0, 1 - |u_p - i|) L_i, on each axis, u_p being p in units of
    positions. Without a placement, positions are spread evenly.
    """
    rows, columns = (
        _weights(placement or Placement.evenly_spaced(count, pixels), count, pixels).to(maps)
        for count, pixels in zip(maps.shape[1:], size, strict=True)
    )
    return rows @ maps @ columns.T


def _weights(placement: Placement, count: int, pixels: int) -> Tensor:
    """The weight of each of `count` positions in every pixel of an axis (pixels, count)."""
    coordinates = torch.from_numpy(placement.positions(count, pixels, pixels))
    return (1 - (coordinates.unsqueeze(1) - torch.arange(count)).abs()).clamp_(min=0)
