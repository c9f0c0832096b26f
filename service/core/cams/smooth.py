"""Grad-CAM++ with derivatives averaged over noisy copies of the image."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.method import Samples
from service.core.cams.noise import normal
from service.core.cams.targets import Target
from service.core.cams.weighted import weighted_sum


class SmoothSamples(Samples):
    """Random samples, and how noisy they are."""

    noise: float = Field(
        0.3, gt=0, le=10, description="Standard deviation; the image's values are 0 to 1."
    )


def smooth_grad_cam_plus_plus(
    cut: Cut, target: Target, parameters: SmoothSamples, classes: Sequence[int]
) -> Tensor:
    """Omeiza et al. 2019 (arXiv:1908.01224), equations 4 to 6: D1, D2, D3 means over the samples.

        w_k = sum_ij a_ij ReLU(D1_ij),    a = D2 / (2 D2 + sum_ab(A_ab) D3)

    with the powers of the gradient as the higher derivatives (as Grad-CAM++ has them) and A of the
    image without noise. (torch-cam takes the last sample's gradient in place of D1, and
    sum_ab(A_ab D3_ab) in place of sum_ab(A_ab) D3; here they are as the paper has them.)
    """
    shape = cut.images.shape[1:]
    drawn = normal(cut.images, parameters.samples, tuple(shape), parameters.seed)
    # float64: the third power of a small gradient is nothing in float32.
    means = [torch.zeros(0, dtype=torch.float64)] * 3
    for noise in drawn:
        moved = cut.images + parameters.noise * noise
        noisy = Cut(cut.network, moved, cut.layer, cut.gradient_bytes)
        chunks = noisy.gradients(target.score_jacobian(noisy.outputs), classes, factor=4)
        gradients = torch.cat(list(chunks)).double()
        for i in range(3):
            term = gradients.pow(i + 1) / parameters.samples
            means[i] = term if means[i].numel() == 0 else means[i] + term
    first, second, third = means
    sums = cut.activations.double().sum((-2, -1), keepdim=True)
    denominator = 2 * second + sums * third
    alive = denominator != 0
    alpha = torch.where(alive, second / torch.where(alive, denominator, 1), 0)
    weights = (alpha * first.clamp(min=0)).sum((-2, -1))
    return weighted_sum(weights.transpose(0, 1).to(cut.activations.dtype), cut.activations)
