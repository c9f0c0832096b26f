"""The energy-based pointing game: how much of the map lies on the object."""

import torch
from torch import Tensor

from service.core.measures.measure import EvaluationBatch

FOREGROUND = 0.5


def pointing_game(subject: EvaluationBatch) -> Tensor:
    """sum of L on the object / sum of L, 0..1, (N,); 0 for a map of zeros.

    Wang et al. 2020, Score-CAM (arXiv:1910.01279), section 4, with the mask of the subject where
    it has one. Without an annotation the object is taken to be the bright pixels, `foreground`:
    that is right for light digits on black, and says little of photographs.
    """
    mask = foreground(subject.images) if subject.mask is None else subject.mask
    whole = subject.maps.sum((1, 2))
    inside = (subject.maps * mask).sum((1, 2))
    return torch.where(whole > 0, inside / torch.where(whole > 0, whole, 1), 0)


def foreground(images: Tensor) -> Tensor:
    """Pixels whose brightness (mean over channels) exceeds half of the image's maximum, bool."""
    brightness = images.mean(1)
    return brightness > FOREGROUND * brightness.amax((1, 2), keepdim=True)
