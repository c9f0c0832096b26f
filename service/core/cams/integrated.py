"""Integrated gradients at a layer: a map that sums to what the class gained."""

from collections.abc import Sequence

import torch
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.method import Steps
from service.core.cams.targets import Target


def layer_integrated_gradients(
    cut: Cut, target: Target, parameters: Steps, classes: Sequence[int]
) -> Tensor:
    """sum_k A^k int_0^1 G^k(t A) dt, by the midpoint rule.

    Sundararajan et al. 2017 (arXiv:1703.01365), equation 1, with the layer's activations as the
    input and a layer at rest, A = 0, as the baseline.
    Complete: its sum over positions is score(A) - score(0), but for the rule's error, so it cannot
    be nowhere positive while the layer speaks for the class.
    """
    total = torch.zeros(())
    for step in range(parameters.steps):
        part = cut.with_activations(cut.activations * ((step + 0.5) / parameters.steps))
        chunks = part.gradients(target.score_jacobian(part.outputs), classes, factor=2)
        # Channels are summed at once: what is kept over the steps are maps, not gradients.
        maps = [(some * cut.activations).sum(2) for some in chunks]
        total = total + torch.cat(maps)
    return total.transpose(0, 1) / parameters.steps
