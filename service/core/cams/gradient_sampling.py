"""Methods that average gradients over noisy copies of the image, or along a path."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from service.core.cams.layer_pass import LayerPass, weighted_sum
from service.core.cams.method import ALL_TARGETS, Cost, Method, Samples, Steps
from service.core.cams.passes import normal_noise
from service.core.cams.targets import Target


class SmoothSamples(Samples):
    """Parameters of Smooth Grad-CAM++."""

    noise: float = Field(
        0.3, gt=0, le=10, description="Standard deviation of the noise; pixels are in 0..1."
    )


def smooth_grad_cam_plus_plus(
    layer_pass: LayerPass, target: Target, parameters: SmoothSamples, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W). D1, D2, D3 are means of G, G^2, G^3 over the noisy copies.

    The powers of the gradient stand for the higher derivatives, as in Grad-CAM++; A is that of the
    image without noise. (torch-cam takes the last sample's gradient for D1, and
    sum_ab(A_ab D3_ab) for sum_ab(A_ab) D3.)
    """
    images = layer_pass.images
    noises = normal_noise(images, parameters.samples, tuple(images.shape[1:]), parameters.seed)
    # float64: the third power of a small gradient underflows in float32.
    means = [torch.zeros(0, dtype=torch.float64)] * 3
    for noise in noises:
        noisy = layer_pass.with_images(images + parameters.noise * noise)
        jacobian = target.score_jacobian(noisy.outputs)
        chunks = noisy.gradients(jacobian, classes, tensors_per_class=4)
        gradients = torch.cat(list(chunks)).double()
        for i in range(3):
            term = gradients.pow(i + 1) / parameters.samples
            means[i] = term if means[i].numel() == 0 else means[i] + term
    d1, d2, d3 = means
    activations = layer_pass.activations
    denominator = 2 * d2 + activations.double().sum((-2, -1), keepdim=True) * d3
    is_nonzero = denominator != 0
    alpha = torch.where(is_nonzero, d2 / torch.where(is_nonzero, denominator, 1), 0)
    weights = (alpha * d1.clamp(min=0)).sum((-2, -1))
    return weighted_sum(weights.transpose(0, 1).to(activations.dtype), activations)


SMOOTH_GRAD_CAM_PLUS_PLUS = Method(
    name="smooth-grad-cam++",
    title="Smooth Grad-CAM++",
    description="Grad-CAM++ with its derivatives averaged over noisy copies of the image.",
    formula="sum_k w_k A^k, w_k = sum_ij ReLU(D1) D2 / (2 D2 + D3 sum_ab A_ab)",
    source="Omeiza et al., Smooth Grad-CAM++ (arXiv:1908.01224), equations 4 to 6",
    year=2019,
    cost=Cost.SAMPLES,
    compute=smooth_grad_cam_plus_plus,
    parameters=SmoothSamples,
)


def layer_integrated_gradients(
    layer_pass: LayerPass, target: Target, parameters: Steps, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W) by the midpoint rule, from the zero baseline A = 0 to A.

    Complete: a map sums over positions to score(A) - score(0), up to the error of the rule. It
    therefore has a positive value wherever the layer raises the score.
    """
    activations = layer_pass.activations
    total = torch.zeros(())
    for step in range(parameters.steps):
        point = layer_pass.with_activations(activations * ((step + 0.5) / parameters.steps))
        jacobian = target.score_jacobian(point.outputs)
        # Channels are summed at once, so that maps rather than gradients are held over the steps.
        chunks = point.gradients(jacobian, classes, tensors_per_class=2)
        total = total + torch.cat([(chunk * activations).sum(2) for chunk in chunks])
    return total.transpose(0, 1) / parameters.steps


LAYER_INTEGRATED_GRADIENTS = Method(
    name="layer-integrated-gradients",
    title="Integrated gradients at the layer",
    description="Gradient times activation, averaged along the path from a zero baseline; sums "
    "to what the layer adds to the score.",
    formula="sum_k A^k int_0^1 G^k(t A) dt",
    source="Sundararajan et al., Axiomatic Attribution (arXiv:1703.01365), equation 1, at a layer",
    year=2017,
    cost=Cost.SAMPLES,
    compute=layer_integrated_gradients,
    targets=("centered", *(name for name in ALL_TARGETS if name != "centered")),
    parameters=Steps,
)
