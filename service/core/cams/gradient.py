"""Methods that weigh activations by gradients. Each is what is done with A and G = d score / d A.

A is (N, K, H, W), G (V, N, K, H, W) for V scores; each gives the map before its last ReLU,
(V, N, H, W). Sums over k are over channels, over ij over positions.
"""

import torch
from torch import Tensor

from service.core.cams.weighted import weighted_sum

# Keeps a quotient whose both parts vanish from being NaN; far below what float32 gradients hold.
TINY = 1e-30


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum_k mean_ij(G^k) A^k. Selvaraju et al. 2017, equations 1 and 2."""
    return _weighted(gradients.mean((-2, -1)), activations)


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum_k G^k A^k. Draelos and Carin 2020 (arXiv:2011.08891), equation 5.

    On a head that is piecewise linear it sums to the score minus the bias terms.
    """
    return (gradients * activations).sum(2)


def element_wise_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum_k ReLU(G^k A^k), as pytorch-grad-cam's GradCAMElementWise."""
    return (gradients * activations).clamp_(min=0).sum(2)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum_k ReLU(G^k) A^k. Jiang et al. 2021, LayerCAM, equations 5 and 6."""
    return (gradients.clamp(min=0) * activations).sum(2)


def x_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A^k with w_k = sum_ij(G^k A^k) / sum_ij A^k. Fu et al. 2020, equation 8.

    A channel that sums to 0 gets no weight (others add 1e-8 to the sum).
    """
    sums = activations.sum((-2, -1))
    inverse = torch.where(sums.abs() <= TINY, 0, 1 / sums)  # NaN stays NaN
    return _weighted((gradients * activations).sum((-2, -1)) * inverse, activations)


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Chattopadhay et al. 2018 (arXiv:1710.11063), equations 10 and 19, for the score exp(y).

    Its derivatives are exp(y) times G, G^2 and G^3; the factor exp(y) > 0 scales a map and is left
    out. Of equation 19's a = G^2 / (2 G^2 + sum_ab(A_ab) G^3) only G > 0 counts, where it is
    1 / (2 + sum_ab(A_ab) G): so a small G keeps its digits. (pytorch-grad-cam
    adds 1e-6 to the first form's denominator, by which maps fade as soon as G^2 comes near that;
    torch-cam 0.5 divides a copy, so that its a is G^2.)
    """
    positive = gradients.clamp(min=0)
    denominator = 2 + activations.sum((-2, -1), keepdim=True) * positive
    weights = torch.where(denominator <= TINY, 0, positive / denominator)
    return _weighted(weights.sum((-2, -1)), activations)


def _weighted(weights: Tensor, activations: Tensor) -> Tensor:
    """sum_k w_k A^k for weights (V, N, K): (V, N, H, W)."""
    return weighted_sum(weights.transpose(0, 1), activations).transpose(0, 1)
