"""Methods that weight activations by gradients.

A are the activations (N, K, H, W), G = d score / d A the gradients (V, N, K, H, W) of V scores.
Sums over k are over channels, over ij over positions. Functions of A and G return maps before
their last ReLU, (V, N, H, W).
"""

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from service.core.cams import fusion
from service.core.cams.eigen import EIGEN_GRAD_CAM, SEG_EIGEN_CAM
from service.core.cams.gradient_sampling import (
    LAYER_INTEGRATED_GRADIENTS,
    SMOOTH_GRAD_CAM_PLUS_PLUS,
)
from service.core.cams.head_gradients import HeadGraph
from service.core.cams.layer_pass import LayerPass, weighted_sum
from service.core.cams.method import AttributionLevel, Cost, Method, from_gradients
from service.core.cams.targets import Outputs, Target
from service.core.parameters import Parameters

# Quotients whose divisor is at most this are 0 rather than NaN; far below any float32 gradient.
TINY = 1e-30


def grad_cam(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W) of the target's scores."""
    return grad_cam_of_jacobian(layer_pass, target.score_jacobian(layer_pass.outputs), classes)


def grad_cam_of_jacobian(
    layer_pass: LayerPass, score_jacobian: Tensor | None, classes: Sequence[int]
) -> Tensor:
    """Grad-CAM (N, c, H, W) of scores with that Jacobian M (N, C, C); None: the pre-activations x.

    Grad-CAM is linear in the gradient, and every score is a function of x. So its maps are the
    combination of the pre-activations' maps that its gradient is of theirs:

        L_score_c = ReLU( sum_j M_cj  (sum_k alpha_k^j A^k) ),    M_cj = d score_c / d x_j.
    """
    activations = layer_pass.activations
    if list(classes) == list(range(layer_pass.pre_activations.shape[1])):
        maps = layer_pass.pre_activation_maps
        maps = maps if score_jacobian is None else torch.bmm(score_jacobian, maps)
        return maps.view(*maps.shape[:2], *activations.shape[2:])
    return weighted_sum(layer_pass.score_weights(score_jacobian, classes), activations)


CONVENTIONAL = Method(
    name="conventional",
    title="Grad-CAM of the class score after softmax",
    description="The usual Grad-CAM; fades as softmax and sigmoid saturate.",
    formula="sum_k mean(G^k) A^k, G of softmax(o)_c",
    source="Selvaraju et al., Grad-CAM, equations 1 and 2",
    year=2017,
    cost=Cost.FORWARD,
    compute=grad_cam,
    targets=("softmax",),
)

PROPOSED = Method(
    name="proposed",
    title="Grad-CAM of the unit before its output activation",
    description="Differentiates the last layer's unit before sigmoid and softmax.",
    formula="sum_k mean(G^k) A^k, G of x_c",
    source="Sakai and Takenaka, JSAI 2019, equation 4",
    year=2019,
    cost=Cost.FORWARD,
    compute=grad_cam,
    targets=("unit",),
)

GRAD_CAM = Method(
    name="grad-cam",
    title="Grad-CAM",
    description="Weights each channel by its gradient averaged over positions.",
    formula="sum_k mean(G^k) A^k",
    source="Selvaraju et al., Grad-CAM, equations 1 and 2",
    year=2017,
    cost=Cost.FORWARD,
    compute=grad_cam,
)


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Maps of the score exp(y), whose derivatives are exp(y) times G, G^2 and G^3.

    The factor exp(y) > 0 scales a map and is left out. Of equation 19's
    a = G^2 / (2 G^2 + sum_ab(A_ab) G^3) only G > 0 contributes, where a = 1 / (2 + sum_ab(A_ab) G)
    does not underflow for a small G. (pytorch-grad-cam adds 1e-6 to the first form's denominator,
    so that maps fade as G^2 approaches it; torch-cam 0.5 divides a copy, so that its a is G^2.)
    """
    positive = gradients.clamp(min=0)
    denominator = 2 + activations.sum((-2, -1), keepdim=True) * positive
    weights = torch.where(denominator <= TINY, 0, positive / denominator)
    return _weighted_sum_by_score(weights.sum((-2, -1)), activations)


GRAD_CAM_PLUS_PLUS = Method(
    name="grad-cam++",
    title="Grad-CAM++",
    description="Weights positive gradients, less where the channel's activations are large.",
    formula="sum_k w_k A^k, w_k = sum_ij ReLU(G) / (2 + G sum_ab A_ab)",
    source="Chattopadhay et al., Grad-CAM++ (arXiv:1710.11063), equations 10 and 19",
    year=2018,
    cost=Cost.GRADIENT,
    compute=from_gradients(grad_cam_plus_plus),
)

REFINE_CAM = Method(
    name="refine-cam",
    title="RefineCAM",
    description="The product of several layers' Grad-CAM++ maps: high where all layers agree.",
    formula="prod_l (L_l - min L_l) / (max L_l - min L_l), L_l the Grad-CAM++ map of layer l",
    source="RefineCAM, arXiv:2605.14641",
    year=2026,
    cost=Cost.GRADIENT,
    compute=from_gradients(grad_cam_plus_plus),
    attribution_level=AttributionLevel.MULTI_LAYER,
    fusion=fusion.product,
)


def x_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """A channel that sums to 0 has weight 0 (other libraries add 1e-8 to the sum)."""
    sums = activations.sum((-2, -1))
    inverse = torch.where(sums.abs() <= TINY, 0, 1 / sums)  # NaN stays NaN
    return _weighted_sum_by_score((gradients * activations).sum((-2, -1)) * inverse, activations)


X_GRAD_CAM = Method(
    name="x-grad-cam",
    title="XGrad-CAM",
    description="Weights each channel by its gradient averaged with its activations.",
    formula="sum_k w_k A^k, w_k = sum_ij(G^k A^k) / sum_ij A^k",
    source="Fu et al., Axiom-based Grad-CAM, equation 8",
    year=2020,
    cost=Cost.GRADIENT,
    compute=from_gradients(x_grad_cam),
)


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """On a piecewise linear head a map sums to the score minus the bias terms."""
    return (gradients * activations).sum(2)


HIRES_CAM = Method(
    name="hires-cam",
    title="HiResCAM",
    description="Gradient times activation, position by position; sums to the score on "
    "piecewise linear heads, except for their biases.",
    formula="sum_k G^k A^k",
    source="Draelos and Carin, HiResCAM (arXiv:2011.08891), equation 5",
    year=2020,
    cost=Cost.GRADIENT,
    compute=from_gradients(hires_cam),
)


def element_wise_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Maps >= 0."""
    return (gradients * activations).clamp_(min=0).sum(2)


ELEMENT_WISE_GRAD_CAM = Method(
    name="element-wise-grad-cam",
    title="Element-wise Grad-CAM",
    description="The positive products of gradient and activation.",
    formula="sum_k ReLU(G^k A^k)",
    source="pytorch-grad-cam, GradCAMElementWise",
    year=2021,
    cost=Cost.GRADIENT,
    compute=from_gradients(element_wise_grad_cam),
)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Maps >= 0 where activations are."""
    return (gradients.clamp(min=0) * activations).sum(2)


LAYER_CAM = Method(
    name="layer-cam",
    title="LayerCAM",
    description="Activations weighted by their own positive gradients.",
    formula="sum_k ReLU(G^k) A^k",
    source="Jiang et al., LayerCAM, equations 5 and 6",
    year=2021,
    cost=Cost.GRADIENT,
    compute=from_gradients(layer_cam),
)


class References(Parameters):
    """Parameters of Finer-CAM."""

    references: PositiveInt = Field(
        3, le=1000, description="Number of most similar classes compared with; at most all others."
    )
    gamma: float = Field(0.6, ge=0, le=10, description="Weight of their mean.")


def finer_cam(
    layer_pass: LayerPass, _: Target, parameters: References, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W), as in torch-cam: the classes d with the pre-activations nearest x_c."""
    outputs = layer_pass.outputs
    x = outputs.pre_activations
    distances = (x.unsqueeze(1) - x.unsqueeze(2)).abs()
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    count = min(parameters.references, x.shape[1] - 1)
    neighbor_indices = distances.topk(count, dim=2, largest=False).indices
    share = torch.full_like(neighbor_indices, -parameters.gamma / max(1, count), dtype=x.dtype)
    jacobian = outputs.identity.clone().scatter_add_(2, neighbor_indices, share)
    return grad_cam_of_jacobian(layer_pass, jacobian, classes)


FINER_CAM = Method(
    name="finer-cam",
    title="Finer-CAM",
    description="Grad-CAM of the difference between a class and the classes most like it.",
    formula="sum_k mean(G^k) A^k, G of x_c - gamma mean_d x_d, d the nearest classes",
    source="Zhang et al., Finer-CAM (arXiv:2501.11309), equation 5",
    year=2025,
    cost=Cost.FORWARD,
    compute=finer_cam,
    targets=("unit",),
    parameters=References,
)


def shapley_cam(
    layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W). H A is the Hessian of the score by A, times A.

    It is 0 where the head is piecewise linear and the target linear in x; there the maps are
    Grad-CAM's.
    """
    activations, head = layer_pass.activations, layer_pass.head
    weights = []
    with torch.enable_grad():
        graph = HeadGraph(layer_pass.evaluate_head, activations)
        scores = target.scores(Outputs(graph.pre_activations, head.output_activation))
        for class_index in classes:
            score = scores[:, class_index].sum()
            (gradient,) = torch.autograd.grad(score, graph.activations, create_graph=True)
            curvature = None
            if gradient.requires_grad:
                (curvature,) = torch.autograd.grad(
                    (gradient * activations).sum(),
                    graph.activations,
                    retain_graph=True,
                    allow_unused=True,
                )
            corrected = gradient if curvature is None else gradient - curvature / 2
            weights.append(corrected.detach().mean((-2, -1)))
    return weighted_sum(torch.stack(weights, dim=1), activations)


SHAPLEY_CAM = Method(
    name="shapley-cam",
    title="ShapleyCAM",
    description="Grad-CAM with the gradient corrected by the head's curvature.",
    formula="sum_k mean(G^k - (H A)^k / 2) A^k",
    source="Cai, CAMs as Shapley Value-based Explainers (arXiv:2501.06261), equation 12",
    year=2025,
    cost=Cost.GRADIENT,
    compute=shapley_cam,
)


def _weighted_sum_by_score(weights: Tensor, activations: Tensor) -> Tensor:
    """sum_k w_k A^k for weights (V, N, K): (V, N, H, W)."""
    return weighted_sum(weights.transpose(0, 1), activations).transpose(0, 1)


GRADIENT_METHODS = (
    CONVENTIONAL,
    PROPOSED,
    GRAD_CAM,
    GRAD_CAM_PLUS_PLUS,
    SMOOTH_GRAD_CAM_PLUS_PLUS,
    X_GRAD_CAM,
    HIRES_CAM,
    ELEMENT_WISE_GRAD_CAM,
    LAYER_CAM,
    LAYER_INTEGRATED_GRADIENTS,
    FINER_CAM,
    SHAPLEY_CAM,
    REFINE_CAM,
    EIGEN_GRAD_CAM,
    SEG_EIGEN_CAM,
)
