"""Coherency, complexity, and the harmonic means that join them: ADCC and ARCC."""

import torch
from torch import Tensor

from service.core.measures.likeness import pearson
from service.core.measures.masking import average_drop, masked_images
from service.core.measures.measure import EvaluationBatch
from service.core.measures.road import road


def coherency(subject: EvaluationBatch) -> Tensor:
    """(1 + correlation of the map with the masked image's map) / 2, 0..1, (N,).

    Poppi et al. 2021 (arXiv:2104.10252), Coherency, scaled to 0..1 as their code does: a map that
    holds the evidence stays what it is when all else is taken away. 0.5 where a map is constant.
    """
    again = subject.explain(subject.network, masked_images(subject), subject.classes)
    return (1 + pearson(again, subject.maps)) / 2


def complexity(subject: EvaluationBatch) -> Tensor:
    """Mean of the map divided by its peak, 0..1, (N,).

    Poppi et al. 2021 (arXiv:2104.10252), Complexity: the L1 norm by the number of pixels.
    """
    return subject.normalized_maps.mean((1, 2))


def adcc(subject: EvaluationBatch) -> Tensor:
    """3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - average drop)), 0..1, (N,).

    Poppi et al. 2021 (arXiv:2104.10252), Average DCC, of each image by itself; 0 where a part
    is 0. `arcc` has ROAD in the average drop's place.
    """
    parts = (
        subject.cached(coherency),
        1 - subject.cached(complexity),
        1 - subject.cached(average_drop),
    )
    return harmonic_mean(torch.stack(parts))


def arcc(subject: EvaluationBatch) -> Tensor:
    """3 / (1 / coherency + 1 / (1 - complexity) + 1 / r), r = 2 ROAD cut off at 0 and 1, (N,).

    Domeniconi et al. 2026 (arXiv:2605.14641), as pytorch-grad-cam's ARCC, which adds 1e-8 to each
    part; 0 where a part is 0.
    """
    removed = (2 * subject.cached(road)).clamp(0, 1)
    parts = (subject.cached(coherency), 1 - subject.cached(complexity), removed)
    return harmonic_mean(torch.stack(parts))


def harmonic_mean(parts: Tensor) -> Tensor:
    """Of parts (P, N), >= 0: (N,); 0 where one of them is 0."""
    zero = (parts <= 0).any(0)
    return torch.where(zero, 0, len(parts) / (1 / torch.where(zero, 1, parts)).sum(0))
