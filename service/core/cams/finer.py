"""Finer-CAM: what tells a class from those most like it."""

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from service.core.cams.by_gradient import mixed_grad_cam
from service.core.cams.cut import Cut
from service.core.cams.targets import Target
from service.core.parameters import Parameters


class References(Parameters):
    """The classes that a class is told apart from."""

    references: PositiveInt = Field(
        3, le=1000, description="How many of the most similar classes; at most all others."
    )
    gamma: float = Field(0.6, ge=0, le=10, description="How much of their mean is taken off.")


def finer_cam(cut: Cut, _: Target, parameters: References, classes: Sequence[int]) -> Tensor:
    """Grad-CAM of x_c - gamma mean_d x_d over the classes d whose units are nearest to x_c.

    Zhang et al. 2025 (arXiv:2501.11309), equation 5, as torch-cam has it.
    """
    units = cut.pre_activations
    everyone = units.shape[1]
    distances = (units.unsqueeze(1) - units.unsqueeze(2)).abs()
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    count = min(parameters.references, everyone - 1)
    nearest = distances.topk(count, dim=2, largest=False).indices
    share = torch.full_like(nearest, -parameters.gamma / max(1, count), dtype=units.dtype)
    mixing = cut.outputs.identity.clone().scatter_add_(2, nearest, share)
    return mixed_grad_cam(cut, mixing, classes)
