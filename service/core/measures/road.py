"""ROAD: the class's probability as pixels are imputed from their neighbors.

Blackened pixels leave their outline, which may itself reveal the class; imputed ones do not. Rong
et al. 2022, A Consistent and Efficient Evaluation Strategy for Attribution Methods
(arXiv:2202.00449).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from service.core.cams.passes import normal_noise
from service.core.cancellation import raise_if_cancelled
from service.core.measures.measure import Direction, EvaluationBatch, Measure
from service.core.preprocessing import level_bounds

PERCENTILES = (20, 40, 60, 80)
"""Of the map's values: pixels at or above the percentile are removed, so 80 removes a fifth."""

NOISE = 0.01
TOLERANCE = 1e-8  # of the residual, relative to the right hand side
MAX_ITERATIONS = 10_000


def road(batch: EvaluationBatch) -> Tensor:
    """Values (N,), -0.5..0.5, as pytorch-grad-cam's ROADCombined."""
    return (batch.cached(least_relevant_first) - batch.cached(most_relevant_first)) / 2


ROAD = Measure(
    name="road",
    title="ROAD, combined",
    description="How much more of the class is lost with the most relevant pixels than with the "
    "least relevant ones, where removed pixels are imputed from their neighbors.",
    formula="(LeRF - MoRF) / 2",
    source="Rong et al., ROAD (arXiv:2202.00449); combined as in pytorch-grad-cam, percentiles 20 "
    "to 80",
    year=2022,
    range=(-0.5, 0.5),
    better_direction=Direction.HIGHER,
    compute=road,
)


def most_relevant_first(batch: EvaluationBatch) -> Tensor:
    """Mean changes of the class's probability over PERCENTILES (N,), -1..1."""
    return batch.cached(changes)[:, 0]


ROAD_MOST_RELEVANT_FIRST = Measure(
    name="road-most-relevant-first",
    title="ROAD, most relevant first",
    description="How the probability changes as the most relevant pixels are imputed.",
    formula="mean over percentiles of p_c(imputed) - p_c",
    source="Rong et al., ROAD (arXiv:2202.00449)",
    year=2022,
    range=(-1, 1),
    better_direction=Direction.LOWER,
    compute=most_relevant_first,
)


def least_relevant_first(batch: EvaluationBatch) -> Tensor:
    """Mean changes of the class's probability over PERCENTILES (N,), -1..1."""
    return batch.cached(changes)[:, 1]


ROAD_LEAST_RELEVANT_FIRST = Measure(
    name="road-least-relevant-first",
    title="ROAD, least relevant first",
    description="How the probability changes as the least relevant pixels are imputed.",
    formula="mean over percentiles of p_c(imputed) - p_c",
    source="Rong et al., ROAD (arXiv:2202.00449)",
    year=2022,
    range=(-1, 1),
    better_direction=Direction.HIGHER,
    compute=least_relevant_first,
)


def changes(
    batch: EvaluationBatch, percentiles: Sequence[int] = PERCENTILES, noise: float = NOISE
) -> Tensor:
    """Mean changes (N, 2) of the class's probability, most and least relevant pixels first."""
    ranks, images = batch.ranks, batch.images
    pixels = ranks[0].numel()
    counts = torch.tensor([_removed_count(pixels, p) for p in percentiles], device=ranks.device)
    versions = 2 * len(counts)
    black, white = (level.unsqueeze(1) for level in level_bounds(images, batch.input_spec))

    def change(rows: slice) -> Tensor:
        rank, originals = ranks[rows].unsqueeze(1), images[rows]
        limits = counts[None, :, None, None]
        mask = torch.cat([rank < limits, rank >= pixels - limits], dim=1)
        copies = originals.unsqueeze(1).expand(-1, versions, -1, -1, -1)
        imputed = impute(copies.flatten(0, 1), mask.flatten(0, 1)).view(copies.shape)
        if noise:
            numbers = normal_noise(originals, versions, tuple(originals.shape[1:]), batch.seed)
            imputed = imputed + noise * (white - black) * numbers.transpose(0, 1) * mask.unsqueeze(
                2
            )
        return imputed

    confidences = batch.confidences_of(versions, change)
    changes = confidences - batch.confidences.unsqueeze(1)
    return changes.view(len(changes), 2, -1).mean(2)


def impute(images: Tensor, mask: Tensor) -> Tensor:
    """Images (B, D, h, w) in which each pixel of `mask` (B, h, w) is the mean of its neighbors.

    Noisy linear imputation without its noise: weights are 1/6 for direct and 1/12 for diagonal
    neighbors, masked or not; at the border they are divided by their sum. The system
    s x - K x = K v, with K the weights and s their sum around each pixel, is symmetric and positive
    on the masked pixels. It is solved by conjugate gradients in float64, for all images and
    channels at once. An image that is masked everywhere becomes 0.
    """
    hole = mask.unsqueeze(1).to(torch.float64)
    values = images.to(torch.float64)
    weights = _NeighborSum(values)
    sums = weights(torch.ones_like(values[:1, :1]))

    def system(x: Tensor) -> Tensor:
        return hole * (sums * x - weights(x))

    right_hand_side = hole * weights(values * (1 - hole))
    solution = _conjugate_gradients(system, right_hand_side)
    return torch.where(mask.unsqueeze(1), solution.to(images.dtype), images)


class _NeighborSum:
    """K: the weighted sum of each pixel's neighbors.

    ((1 2 1) x (1 2 1) - 4) / 12 has 2/12 beside and 1/12 on the diagonals: one matrix per axis.
    """

    def __init__(self, template: Tensor) -> None:
        self._rows, self._columns = (_tridiagonal(side, template) for side in template.shape[-2:])

    def __call__(self, x: Tensor) -> Tensor:
        return (self._rows @ x @ self._columns - 4 * x) / 12


def _tridiagonal(side: int, template: Tensor) -> Tensor:
    off_diagonal = torch.ones(max(0, side - 1), dtype=template.dtype, device=template.device)
    diagonal = torch.full((side,), 2, dtype=template.dtype, device=template.device)
    return torch.diag(diagonal) + torch.diag(off_diagonal, 1) + torch.diag(off_diagonal, -1)


def _conjugate_gradients(system: Callable[[Tensor], Tensor], right_hand_side: Tensor) -> Tensor:
    """x of system(x) = right_hand_side (B, D, h, w), one system for each image and channel."""
    x = torch.zeros_like(right_hand_side)
    residual = direction = right_hand_side
    error = _dot(residual, residual)
    tolerance = TOLERANCE**2 * error
    for _ in range(MAX_ITERATIONS):
        raise_if_cancelled()
        if not (error > tolerance).any():
            break
        product = system(direction)
        curvature = _dot(direction, product)
        # The direction of a system that is solved exactly is 0.
        step = torch.where(curvature > 0, error / torch.where(curvature > 0, curvature, 1), 0)
        x = x + step * direction
        residual = residual - step * product
        previous_error, error = error, _dot(residual, residual)
        is_positive = previous_error > 0
        ratio = torch.where(is_positive, error / torch.where(is_positive, previous_error, 1), 0)
        direction = residual + ratio * direction
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1), keepdim=True)


def _removed_count(pixels: int, percentile: int) -> int:
    """How many of that many distinct values are at or above their percentile, as in numpy."""
    return pixels - math.ceil((pixels - 1) * percentile / 100)


ROAD_MEASURES = (ROAD, ROAD_MOST_RELEVANT_FIRST, ROAD_LEAST_RELEVANT_FIRST)
