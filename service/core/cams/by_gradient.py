"""From what is done with A and G to maps of many images and classes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.method import Compute
from service.core.cams.targets import Target
from service.core.cams.weighted import weighted_sum
from service.core.parameters import Parameters

Combine = Callable[[Tensor, Tensor], Tensor]
"""A (N, K, H, W) and G (V, N, K, H, W) to maps (V, N, H, W)."""


def by_gradient(combine: Combine) -> Compute:
    """A method that looks at A and the full gradient, class by class."""

    def compute(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
        mixing = target.score_jacobian(cut.outputs)
        # Besides the gradient itself some two tensors of its size are made of it.
        chunks = cut.gradients(mixing, classes, factor=3)
        return torch.cat([combine(cut.activations, some) for some in chunks]).transpose(0, 1)

    return compute


def grad_cam(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
    """Grad-CAM of a target. Selvaraju et al. 2017, equations 1 and 2."""
    return mixed_grad_cam(cut, target.score_jacobian(cut.outputs), classes)


def mixed_grad_cam(cut: Cut, mixing: Tensor | None, classes: Sequence[int]) -> Tensor:
    """Grad-CAM (N, c, H, W), told by how the score mixes the units; None: the units themselves.

    Its map is linear in the score's gradient, and every target is a function of the units x. So its
    map is the same combination of the units' maps as its gradient is of theirs:

        L_score_c = ReLU( sum_j M_cj  (sum_k alpha_k^j A^k) ),    M_cj = d score_c / d x_j.
    """
    chosen = list(classes)
    if chosen == list(range(cut.pre_activations.shape[1])):
        maps = cut.pre_activation_maps if mixing is None else mixing @ cut.pre_activation_maps
        return maps.view(*maps.shape[:2], *cut.activations.shape[2:])
    if cut.has_closed_form:
        weights = cut.channel_weights
        weights = weights[:, chosen] if mixing is None else mixing[:, chosen] @ weights
    else:
        # A gradient for each class that is asked for costs less than one for each unit.
        means = [some.mean((-2, -1)) for some in cut.gradients(mixing, chosen)]
        weights = torch.cat(means).transpose(0, 1)
    return weighted_sum(weights, cut.activations)
