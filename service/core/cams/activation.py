"""Methods that weigh activations without a gradient, in one pass."""

import torch
from torch import Tensor, nn

from service.core.cams.closed_form import ClosedHead
from service.core.cams.head import HeadPass
from service.core.cams.weighted import weighted_sum
from service.errors import InvalidValue


def classic_cam(above: HeadPass) -> Tensor:
    """Weights (C, K) of the units by channel. Zhou et al. 2016 (arXiv:1512.04150), equation 2.

    Raises InvalidValue for a head that is not global average pooling and one linear layer.
    """
    head = ClosedHead.match(above.head)
    if head is None or head.hidden or not isinstance(head.pooling, nn.AdaptiveAvgPool2d):
        raise InvalidValue(
            "method", "cam needs a head of global average pooling and one linear layer"
        )
    return head.output.weight


def fem(activations: Tensor) -> Tensor:
    """sum_k w_k A^k, (N, H, W): w_k is the share of positions with A^k > mean + 2 deviations.

    Fuad et al. 2020, Features Understanding in 3D CNNs. Looks at no class.
    """
    flat = activations.flatten(2)
    threshold = flat.mean(2, keepdim=True) + 2 * flat.std(2, correction=0, keepdim=True)
    weights = (flat > threshold).to(flat.dtype).mean(2)
    return weighted_sum(weights.unsqueeze(1), activations).squeeze(1)


def random_weights(channels: int, classes: int, seed: int) -> Tensor:
    """Weights (C, K), uniform in -1..1: the control that every method has to beat.

    The same for every image, so that an image that is moved a little moves its map a little.
    """
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand((classes, channels), generator=generator) - 1
