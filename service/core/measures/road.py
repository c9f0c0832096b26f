"""ROAD: what happens as pixels are replaced by what their neighbours tell of them.

Pixels that turn black leave their outline behind, which itself may tell the class; imputed ones do
not. Rong et al. 2022, A Consistent and Efficient Evaluation Strategy for Attribution Methods
(arXiv:2202.00449).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from service.core.cams.passes import normal_noise
from service.core.cancellation import raise_if_cancelled
from service.core.measures.measure import EvaluationBatch

PERCENTILES = (20, 40, 60, 80)
"""Of the map's values: what lies at one or above is removed, so 80 removes a fifth."""

NOISE = 0.01
TOLERANCE = 1e-8  # of the residual, to the right hand side
MOST_ITERATIONS = 10_000


def road(subject: EvaluationBatch) -> Tensor:
    """(LeRF - MoRF) / 2, -0.5..0.5, (N,), as pytorch-grad-cam's ROADCombined. Higher is better."""
    return (subject.cached(least_relevant_first) - subject.cached(most_relevant_first)) / 2


def most_relevant_first(subject: EvaluationBatch) -> Tensor:
    """Mean change of the class's probability, -1..1, (N,), as its evidence is imputed.

    Mean over PERCENTILES. Lower is better.
    """
    return subject.cached(changes)[:, 0]


def least_relevant_first(subject: EvaluationBatch) -> Tensor:
    """Mean change of the class's probability, -1..1, (N,), as all but its evidence is imputed.

    Mean over PERCENTILES. Higher is better.
    """
    return subject.cached(changes)[:, 1]


def changes(
    subject: EvaluationBatch, percentiles: Sequence[int] = PERCENTILES, noise: float = NOISE
) -> Tensor:
    """Mean changes (N, 2) of the class's probability, most and least relevant pixels first."""
    ranks, images = subject.ranks, subject.images
    pixels = ranks[0].numel()
    counts = torch.tensor([_removed(pixels, p) for p in percentiles], device=ranks.device)
    versions = 2 * len(counts)

    def change(part: slice) -> Tensor:
        rank, shown = ranks[part].unsqueeze(1), images[part]
        limits = counts[None, :, None, None]
        removed = torch.cat([rank < limits, rank >= pixels - limits], dim=1)
        several = shown.unsqueeze(1).expand(-1, versions, -1, -1, -1)
        imputed = impute(several.flatten(0, 1), removed.flatten(0, 1)).view(several.shape)
        if noise:
            drawn = normal_noise(shown, versions, tuple(shown.shape[1:]), subject.seed).transpose(
                0, 1
            )
            imputed = imputed + noise * drawn * removed.unsqueeze(2)
        return imputed

    after = subject.confidences_of(versions, change)
    return (after - subject.confidences.unsqueeze(1)).view(len(after), 2, -1).mean(2)


def impute(images: Tensor, removed: Tensor) -> Tensor:
    """Images (B, D, h, w) whose pixels `removed` (B, h, w) are the weighted mean of their
    neighbours, be those removed themselves: 1/6 for those beside, 1/12 for those across.

    Rong et al. 2022, noisy linear imputation, without its noise. Beyond the border there is no
    neighbour, and the others' weights are divided by their sum. The system s x - K x = K v, with K
    the weights and s their sum around each pixel, is symmetric and positive on the removed pixels:
    solved by conjugate gradients in float64, for all images and channels at once, whatever their
    size. Where all is removed, all is 0.
    """
    hole = removed.unsqueeze(1).to(torch.float64)
    values = images.to(torch.float64)
    weights = _Neighbours(values)
    sums = weights(torch.ones_like(values[:1, :1]))

    def system(x: Tensor) -> Tensor:
        return hole * (sums * x - weights(x))

    right = hole * weights(values * (1 - hole))
    solved = _conjugate_gradients(system, right)
    return torch.where(removed.unsqueeze(1), solved.to(images.dtype), images)


class _Neighbours:
    """K: sums of neighbours times their weights.

    ((1 2 1) x (1 2 1) - 4) / 12 has 2/12 beside and 1/12 across, and is one small matrix an axis.
    """

    def __init__(self, like: Tensor) -> None:
        self._rows, self._columns = (_tridiagonal(side, like) for side in like.shape[-2:])

    def __call__(self, x: Tensor) -> Tensor:
        return (self._rows @ x @ self._columns - 4 * x) / 12


def _tridiagonal(side: int, like: Tensor) -> Tensor:
    near = torch.ones(max(0, side - 1), dtype=like.dtype, device=like.device)
    middle = torch.full((side,), 2, dtype=like.dtype, device=like.device)
    return torch.diag(middle) + torch.diag(near, 1) + torch.diag(near, -1)


def _conjugate_gradients(system: Callable[[Tensor], Tensor], right: Tensor) -> Tensor:
    """x of system(x) = right (B, D, h, w), one system for each image and channel."""
    x = torch.zeros_like(right)
    residual = direction = right
    left = _dot(residual, residual)
    enough = TOLERANCE**2 * left
    for _ in range(MOST_ITERATIONS):
        raise_if_cancelled()
        if not (left > enough).any():
            break
        along = system(direction)
        curvature = _dot(direction, along)
        # A system that is solved exactly has no direction any more.
        length = torch.where(curvature > 0, left / torch.where(curvature > 0, curvature, 1), 0)
        x = x + length * direction
        residual = residual - length * along
        before, left = left, _dot(residual, residual)
        turn = torch.where(before > 0, left / torch.where(before > 0, before, 1), 0)
        direction = residual + turn * direction
    return x


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((-2, -1), keepdim=True)


def _removed(pixels: int, percentile: int) -> int:
    """How many of so many different values lie at their percentile or above, as numpy has it."""
    return pixels - math.ceil((pixels - 1) * percentile / 100)
