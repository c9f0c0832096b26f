"""Insertion and deletion: the class's probability as pixels appear or vanish in the map's order."""

import torch
from torch import Tensor

from service.core.measures.measure import Direction, EvaluationBatch, Measure

STEPS = 28


def deletion(batch: EvaluationBatch, steps: int = STEPS) -> Tensor:
    """Areas (N,), 0..1, by the trapezoid rule in `steps` equal steps from no pixel to all."""
    return _area(batch, steps, is_insertion=False)


DELETION = Measure(
    name="deletion",
    title="Deletion",
    description="How long the class survives as its most relevant pixels are removed.",
    formula="area under p_c by the share of pixels deleted, most relevant first",
    source="Petsiuk et al., RISE (arXiv:1806.07421), section 4",
    year=2018,
    range=(0, 1),
    better_direction=Direction.LOWER,
    compute=deletion,
)


def insertion(batch: EvaluationBatch, steps: int = STEPS) -> Tensor:
    """Areas (N,), 0..1. It starts from the baseline of the run's input.

    The paper starts from a blurred photograph; digits start from black, as a blurred digit is one.
    """
    return _area(batch, steps, is_insertion=True)


INSERTION = Measure(
    name="insertion",
    title="Insertion",
    description="How soon the class is recognized as its most relevant pixels appear.",
    formula="area under p_c by the share of pixels inserted, most relevant first",
    source="Petsiuk et al., RISE (arXiv:1806.07421), section 4; from the baseline of the input",
    year=2018,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=insertion,
)


def _area(batch: EvaluationBatch, steps: int, *, is_insertion: bool) -> Tensor:
    ranks, images, baseline = batch.ranks, batch.images, batch.baseline
    pixels = ranks[0].numel()
    counts = torch.linspace(0, pixels, steps + 1, dtype=torch.float64).round().to(ranks)

    def change(rows: slice) -> Tensor:
        most_relevant = ranks[rows].unsqueeze(1) < counts[None, :, None, None]
        visible = most_relevant if is_insertion else ~most_relevant
        return torch.where(
            visible.unsqueeze(2), images[rows].unsqueeze(1), baseline[rows].unsqueeze(1)
        )

    curve = batch.confidences_of(steps + 1, change)
    return torch.trapezoid(curve, (counts / pixels).to(curve), dim=1)


DELETION_MEASURES = (DELETION, INSERTION)
