"""Insertion and deletion: what happens as pixels come or go in the order of the map."""

import torch
from torch import Tensor

from service.core.measures.measure import EvaluationBatch

STEPS = 28


def deletion(subject: EvaluationBatch, steps: int = STEPS) -> Tensor:
    """Area under the class's probability as its most relevant pixels turn black, 0..1, (N,).

    Petsiuk et al. 2018, RISE (arXiv:1806.07421), section 4. Lower is better: the class goes with
    its evidence. Trapezoid rule over the share of pixels, in `steps` equal steps from none to all.
    """
    return _area(subject, steps, inserted=False)


def insertion(subject: EvaluationBatch, steps: int = STEPS) -> Tensor:
    """Area under the class's probability as its most relevant pixels appear on black, 0..1, (N,).

    Petsiuk et al. 2018, RISE (arXiv:1806.07421), section 4, who start from a blurred photograph;
    a blurred digit would be a digit still, so this starts from black. Higher is better.
    """
    return _area(subject, steps, inserted=True)


def _area(subject: EvaluationBatch, steps: int, *, inserted: bool) -> Tensor:
    ranks, images = subject.ranks, subject.images
    pixels = ranks[0].numel()
    counts = torch.linspace(0, pixels, steps + 1, dtype=torch.float64).round().to(ranks)

    def change(part: slice) -> Tensor:
        first = ranks[part].unsqueeze(1) < counts[None, :, None, None]
        shown = first if inserted else ~first
        return images[part].unsqueeze(1) * shown.unsqueeze(2)

    curve = subject.confidences_of(steps + 1, change)
    return torch.trapezoid(curve, (counts / pixels).to(curve), dim=1)
