"""Methods that weight activations without gradients, in one forward pass."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from service.core.cams.closed_form import ClosedHead
from service.core.cams.eigen import EIGEN_CAM, KPCA_CAM, class_agnostic
from service.core.cams.layer_pass import Head, LayerPass, weighted_sum
from service.core.cams.method import CLASS_AGNOSTIC, Cost, Method, Seeded
from service.core.cams.targets import Target
from service.core.parameters import Parameters
from service.errors import InvalidValue


def class_activation_mapping(
    layer_pass: LayerPass, _: Target, __: Parameters, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W).

    Raises InvalidValue for a head that is not global average pooling and one linear layer.
    """
    weights = _averaging_head_weights(layer_pass.head)
    if weights is None:
        raise InvalidValue(
            "method", "cam needs a head of global average pooling and one linear layer"
        )
    weights = weights[list(classes)]
    return weighted_sum(weights.expand(len(layer_pass.images), -1, -1), layer_pass.activations)


def _averaging_head_weights(head: Head) -> Tensor | None:
    """W (C, K) of a head of global average pooling and one linear layer; None for another form."""
    if head.split.neck is not None:
        return head.split.neck.linear_weights
    closed = ClosedHead.match(head.stages)
    if closed is None or closed.hidden_layer:
        return None
    return closed.output.weight if isinstance(closed.pooling, nn.AdaptiveAvgPool2d) else None


CAM = Method(
    name="cam",
    title="Class activation mapping",
    description="The weights of the last layer; needs global average pooling below it.",
    formula="sum_k W_ck A^k",
    source="Zhou et al., Learning Deep Features for Discriminative Localization "
    "(arXiv:1512.04150), eq. 2",
    year=2016,
    cost=Cost.FORWARD,
    compute=class_activation_mapping,
    targets=("unit",),
)


def fem(activations: Tensor) -> Tensor:
    """Maps (N, H, W). Mean and standard deviation are each channel's, over positions."""
    flat = activations.flatten(2)
    threshold = flat.mean(2, keepdim=True) + 2 * flat.std(2, correction=0, keepdim=True)
    weights = (flat > threshold).to(flat.dtype).mean(2)
    return weighted_sum(weights.unsqueeze(1), activations).squeeze(1)


FEM = Method(
    name="fem",
    title="Feature Explanation Method",
    description="Weights channels by how often they are strong; class-agnostic.",
    formula="sum_k w_k A^k, w_k = share of A^k > mean + 2 deviations",
    source="Fuad et al., Features Understanding in 3D CNNs",
    year=2020,
    cost=Cost.FORWARD,
    compute=class_agnostic(fem),
    targets=CLASS_AGNOSTIC,
)


def random_cam(
    layer_pass: LayerPass, _: Target, parameters: Seeded, classes: Sequence[int]
) -> Tensor:
    """Maps (N, c, H, W).

    The weights are the same for every image, so that a slightly moved image has a slightly moved
    map.
    """
    activations = layer_pass.activations
    generator = torch.Generator().manual_seed(parameters.seed)
    shape = (max(classes) + 1, activations.shape[1])
    weights = 2 * torch.rand(shape, generator=generator) - 1
    weights = weights.to(activations)[list(classes)]
    return weighted_sum(weights.expand(len(activations), -1, -1), activations)


RANDOM = Method(
    name="random",
    title="Random weights",
    description="The control: channels weighted at random. A method that does not beat it "
    "explains nothing.",
    formula="sum_k w_k A^k, w_k uniform in -1..1",
    source="the control of pytorch-grad-cam, RandomCAM",
    year=2021,
    cost=Cost.FORWARD,
    compute=random_cam,
    targets=CLASS_AGNOSTIC,
    parameters=Seeded,
)

ACTIVATION_METHODS = (CAM, EIGEN_CAM, KPCA_CAM, FEM, RANDOM)
