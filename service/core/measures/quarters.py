"""The grid pointing game: how much of a map lies in the quarter that shows the explained class.

Four images in one, of different classes, are a test whose answer is known without annotations.
Böhle, Fritz and Schiele, "Convolutional Dynamic Alignment Networks for Interpretable
Classifications" (CVPR 2021, arXiv:2104.00032), section 4.2.
"""

import torch
from torch import Tensor

from service.core.measures.pointing import share_inside

UNIFORM_SHARE = 0.25
"""The share of a map that is the same everywhere."""


def quarter_shares(maps: Tensor, quarters: Tensor) -> Tensor:
    """Shares (N,), 0..1, of the positive part of maps (N, h, w) in each one's quarter (N,).

    0 for a map without a positive value. Quarters are 0 to 3, row by row.
    """
    return share_inside(maps.clamp(min=0), quarter_masks(quarters, (maps.shape[1], maps.shape[2])))


def quarter_masks(quarters: Tensor, size: tuple[int, int]) -> Tensor:
    """The pixels of quarters int64 (N,), 0 to 3, row by row: bool (N, h, w).

    Raises ValueError for a size that no two equal halves make up.
    """
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"size: both sides must be even, not {size[0]} x {size[1]}")
    halves = torch.div(quarters, 2, rounding_mode="floor"), quarters % 2
    rows, columns = (
        torch.arange(pixels, device=quarters.device) * 2 // pixels == half.unsqueeze(1)
        for pixels, half in zip(size, halves, strict=True)
    )
    return rows.unsqueeze(2) & columns.unsqueeze(1)


def arrange_quarters(tiles: Tensor) -> Tensor:
    """Four tiles (4, D, h, w), row by row, as one image (D, 2 h, 2 w)."""
    rows = [torch.cat([tiles[first], tiles[first + 1]], dim=2) for first in (0, 2)]
    return torch.cat(rows, dim=1)
