"""Similarity of two maps: Pearson, Spearman, SSIM."""

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor

from service.core.measures.measure import divide_by_peak

WINDOW_PIXELS = 11
WINDOW_DEVIATION = 1.5


def pearson(maps_a: Tensor, maps_b: Tensor) -> Tensor:
    """Correlation of maps (N, h, w), -1..1, (N,); 0 where one of them is constant."""
    a, b = (_centered(maps.flatten(1).to(torch.float64)) for maps in (maps_a, maps_b))
    product = a.norm(dim=1) * b.norm(dim=1)
    correlation = (a * b).sum(1) / torch.where(product > 0, product, 1)
    return correlation.clamp(-1, 1).to(maps_a.dtype)


def spearman(maps_a: Tensor, maps_b: Tensor) -> Tensor:
    """Correlation of the ranks of maps (N, h, w), -1..1, (N,); equal values share their mean rank.

    1 where both are constant, 0 where one is.
    """
    correlation = pearson(_mean_ranks(maps_a.flatten(1)), _mean_ranks(maps_b.flatten(1)))
    both_constant = _is_constant(maps_a) & _is_constant(maps_b)
    return torch.where(both_constant, 1, correlation).to(maps_a.dtype)


def ssim(maps_a: Tensor, maps_b: Tensor) -> Tensor:
    """Structural similarity of maps (N, h, w), each divided by its peak, -1..1, (N,).

    Wang et al. 2004, Image quality assessment, equation 13 with its defaults: a Gaussian window of
    11 pixels and deviation 1.5 (smaller on a smaller image), K = 0.01 and 0.03; the mean over all
    windows that lie on the image.
    """
    pair = torch.stack([divide_by_peak(maps_a), divide_by_peak(maps_b)]).to(torch.float64)
    window = _window(min(maps_a.shape[-2:])).to(pair)
    x, y = pair.unsqueeze(2)

    def blur(values: Tensor) -> Tensor:
        return F.conv2d(values, window)

    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))
    return similarity.flatten(1).mean(1).to(maps_a.dtype)


def _centered(values: Tensor) -> Tensor:
    # Exactly 0 for constant values, whose rounded mean may differ from them.
    centered = values - values.mean(1, keepdim=True)
    return torch.where(_is_constant(values)[:, None], 0, centered)


def _is_constant(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return flat.amax(1) == flat.amin(1)


def _mean_ranks(values: Tensor) -> Tensor:
    values = values.contiguous()
    ascending = values.sort(dim=1).values
    lowest_rank = torch.searchsorted(ascending, values)
    next_rank = torch.searchsorted(ascending, values, right=True)
    return (lowest_rank + next_rank - 1).to(torch.float64) / 2


def _window(image_side: int) -> Tensor:
    """Gaussian weights (1, 1, s, s) whose sum is 1, s odd."""
    side = min(WINDOW_PIXELS, image_side - (image_side + 1) % 2)
    distance = torch.arange(side, dtype=torch.float64) - side // 2
    line = (-(distance**2) / (2 * WINDOW_DEVIATION**2)).exp()
    square = torch.outer(line, line)
    return (square / square.sum())[None, None]
