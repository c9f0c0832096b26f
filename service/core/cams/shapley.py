"""ShapleyCAM: gradients corrected by the curvature of the head."""

from collections.abc import Sequence

import torch
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.head import HeadGraph
from service.core.cams.targets import Outputs, Target
from service.core.cams.weighted import weighted_sum
from service.core.parameters import Parameters


def shapley_cam(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
    """sum_k w_k A^k, w_k = mean_ij(G^k - 1/2 (H A)^k). Cai 2025 (arXiv:2501.06261), equation 12.

    H A is the Hessian of the score by A times A: 0 where the head is piecewise linear and the
    target is linear in the units; there it is Grad-CAM.
    """
    weights = []
    with torch.enable_grad():
        graph = HeadGraph(cut.head, cut.activations)
        scores = target.scores(Outputs(graph.connected_units, cut.output_activation))
        for label in classes:
            score = scores[:, label].sum()
            (first,) = torch.autograd.grad(score, graph.leaf, create_graph=True)
            second = None
            if first.requires_grad:
                directed = (first * cut.activations).sum()
                (second,) = torch.autograd.grad(
                    directed, graph.leaf, retain_graph=True, allow_unused=True
                )
            whole = first if second is None else first - second / 2
            weights.append(whole.detach().mean((-2, -1)))
    return weighted_sum(torch.stack(weights, dim=1), cut.activations)
