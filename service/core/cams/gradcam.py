"""Grad-CAM's two scores, as the paper compares them, told by how they mix the units.

Grad-CAM's map is linear in the score's gradient, and every score that the paper names is a function
of the units x. So its map is the same combination of the units' maps as its gradient is of theirs:

    L_score_c = ReLU( sum_j M_cj  (sum_k alpha_k^j A^k) ),    M_cj = d score_c / d x_j.
"""

import torch
from torch import Tensor

from service.core.cams.cut import Cut


def unit(cut: Cut) -> Tensor | None:  # noqa: ARG001  the table's signature
    """The unit itself: nothing to mix. Sakai and Takenaka 2019, eq. 4."""
    return None


def class_score(cut: Cut) -> Tensor:
    """M (N, C, C) of the class score after softmax. Selvaraju 2017, eq. 1; the paper's (1).

    diag(p) - p p^T, with the diagonal p_c (1 - p_c) taken as p_c times the sum of the other
    probabilities: where p_c rounds to 1 in float32, 1 - p_c would be 0 and the class's own term be
    lost, although the others' small terms are still there. So the conventional map fades with
    saturation as the mathematics has it, and not sooner for its arithmetic. Behind an output
    sigmoid the columns are multiplied by its slope.
    """
    p = cut.logits.softmax(1)
    others = p.unsqueeze(1).repeat(1, p.shape[1], 1)
    others.diagonal(dim1=1, dim2=2).zero_()
    mixing = -p.unsqueeze(2) * p.unsqueeze(1)
    mixing.diagonal(dim1=1, dim2=2).copy_(p * others.sum(2))
    if cut.output_activation == "sigmoid":
        slopes = torch.sigmoid(cut.units) * torch.sigmoid(-cut.units)
        mixing = mixing * slopes.unsqueeze(1)
    return mixing
