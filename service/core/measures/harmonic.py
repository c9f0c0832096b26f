"""Coherency, complexity, and their harmonic means with other measures: ADCC and ARCC."""

import torch
from torch import Tensor

from service.core.measures.masking import average_drop, masked_images
from service.core.measures.measure import Direction, EvaluationBatch, Measure
from service.core.measures.road import road
from service.core.measures.similarity import pearson


def coherency(batch: EvaluationBatch) -> Tensor:
    """Values (N,), 0..1, scaled as in the authors' code; 0.5 where a map is constant."""
    masked_maps = batch.explain(batch.network, masked_images(batch), batch.classes)
    return (1 + pearson(masked_maps, batch.maps)) / 2


COHERENCY = Measure(
    name="coherency",
    title="Coherency",
    description="How similar the map is to that of the image multiplied by it.",
    formula="(1 + Pearson(L(x L(x)), L(x))) / 2",
    source="Poppi et al., Revisiting the Evaluation of Class Activation Mapping (arXiv:2104.10252)",
    year=2021,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=coherency,
)


def complexity(batch: EvaluationBatch) -> Tensor:
    """Values (N,), 0..1: the L1 norm divided by the number of pixels."""
    return batch.normalized_maps.mean((1, 2))


COMPLEXITY = Measure(
    name="complexity",
    title="Complexity",
    description="How much of the image the map fills.",
    formula="mean of L / max L",
    source="Poppi et al., Revisiting the Evaluation of Class Activation Mapping (arXiv:2104.10252)",
    year=2021,
    range=(0, 1),
    better_direction=Direction.LOWER,
    compute=complexity,
)


def adcc(batch: EvaluationBatch) -> Tensor:
    """Values (N,), 0..1, of each image by itself; 0 where a part is 0."""
    parts = (batch.cached(coherency), 1 - batch.cached(complexity), 1 - batch.cached(average_drop))
    return harmonic_mean(torch.stack(parts))


ADCC = Measure(
    name="adcc",
    title="Average DCC",
    description="Harmonic mean of coherency, 1 - complexity and 1 - average drop.",
    formula="3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))",
    source="Poppi et al., Revisiting the Evaluation of Class Activation Mapping (arXiv:2104.10252)",
    year=2021,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=adcc,
)


def arcc(batch: EvaluationBatch) -> Tensor:
    """Values (N,), 0..1; 0 where a part is 0. pytorch-grad-cam's ARCC adds 1e-8 to each part."""
    removal = (2 * batch.cached(road)).clamp(0, 1)
    parts = (batch.cached(coherency), 1 - batch.cached(complexity), removal)
    return harmonic_mean(torch.stack(parts))


ARCC = Measure(
    name="arcc",
    title="ARCC",
    description="Average DCC with ROAD in place of the average drop.",
    formula="3 / (1 / coherency + 1 / (1 - complexity) + 1 / clip(2 ROAD, 0, 1))",
    source="Domeniconi et al., How to Evaluate and Refine your CAM (arXiv:2605.14641)",
    year=2026,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=arcc,
)


def harmonic_mean(parts: Tensor) -> Tensor:
    """Of parts (P, N), >= 0: (N,); 0 where a part is 0."""
    has_zero = (parts <= 0).any(0)
    return torch.where(has_zero, 0, len(parts) / (1 / torch.where(has_zero, 1, parts)).sum(0))


HARMONIC_MEASURES = (COHERENCY, COMPLEXITY, ADCC, ARCC)
