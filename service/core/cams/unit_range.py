"""Channels rescaled to 0..1, each by itself."""

import torch
from torch import Tensor


def unit_range(channels: Tensor) -> Tensor:
    """(x - min) / (max - min) over positions, (..., H, W); a constant channel becomes 0.

    Where a channel is not finite, neither is what comes of it.

    Others add some 1e-7 to the divisor, and so let channels fade that are small altogether.
    """
    low, high = channels.amin((-2, -1), keepdim=True), channels.amax((-2, -1), keepdim=True)
    span = high - low
    flat = span == 0
    return torch.where(flat, 0, (channels - low) / torch.where(flat, 1, span))
