"""The energy-based pointing game: how much of the map lies on the object."""

import torch
from torch import Tensor

from service.core.measures.measure import Direction, EvaluationBatch, Measure

FOREGROUND = 0.5


def pointing_game(batch: EvaluationBatch) -> Tensor:
    """Shares (N,), 0..1, of the batch's mask, or else of `foreground`; 0 for a map of zeros."""
    mask = foreground(batch.images) if batch.mask is None else batch.mask
    return share_inside(batch.maps, mask)


def share_inside(maps: Tensor, mask: Tensor) -> Tensor:
    """The share (N,), 0..1, of maps (N, h, w), >= 0, on pixels bool (N, h, w); 0 without any."""
    total = maps.sum((1, 2))
    inside = (maps * mask).sum((1, 2))
    return torch.where(total > 0, inside / torch.where(total > 0, total, 1), 0)


POINTING_GAME = Measure(
    name="pointing-game",
    title="Energy-based pointing game",
    description="The share of the map on the image's bright pixels, which stand for the object: "
    "right for light digits on black, and no substitute for annotations.",
    formula="sum of L on the object / sum of L",
    source="Wang et al., Score-CAM (arXiv:1910.01279), section 4",
    year=2020,
    range=(0, 1),
    better_direction=Direction.HIGHER,
    compute=pointing_game,
)


def foreground(images: Tensor) -> Tensor:
    """Pixels whose brightness (mean over channels) exceeds half of the image's maximum, bool."""
    brightness = images.mean(1)
    return brightness > FOREGROUND * brightness.amax((1, 2), keepdim=True)


POINTING_MEASURES = (POINTING_GAME,)
