"""The gradient of the paper's head, without a backward pass.

Above the last convolution of Table 1 stand: a non-overlapping pooling, flatten, linear (W1),
activation s, linear (W2). There

    d x_c / d P_kuv = sum_j W2_cj s'(z_j) W1_j,kuv

and pooling hands each of its outputs' gradients to positions of one window (all of it to one by
maximum, in equal parts by average), so that the sum over positions of A is the sum over those of P:

    alpha_ck = 1/Z sum_j W2_cj s'(z_j) S_jk,    S_jk = sum_uv W1_j,kuv,    Z = positions of A.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# sigmoid(z) sigmoid(-z) rather than s (1 - s), and the same for 1 - tanh^2: they keep their digits
# where the activation rounds to 1.
DERIVATIVES: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
    nn.ReLU: lambda z: (z > 0).to(z.dtype),
    nn.Tanh: lambda z: 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z),
}


def closed_form(head: Sequence[nn.Module], activations: Tensor) -> tuple[Tensor, Tensor] | None:
    """Units (N, C) and alpha (N, C, K) of a head of the form above; None for any other head."""
    match [stage for stage in head if not isinstance(stage, nn.Dropout)]:
        case [
            *pooling,
            nn.Flatten(),
            nn.Linear() as hidden,
            activation,
            nn.Linear() as output,
        ] if type(activation) in DERIVATIVES and _spreads_evenly(pooling):
            pass
        case _:
            return None
    pooled = activations
    for stage in pooling:
        pooled = stage(pooled)
    channels, positions = pooled.shape[1], pooled.shape[2] * pooled.shape[3]
    preactivations = hidden(pooled.flatten(1))
    units = output(activation(preactivations))
    by_channel = hidden.weight.view(-1, channels, positions).sum(-1)  # S (J, K)
    by_channel = by_channel / (activations.shape[2] * activations.shape[3])
    slopes = DERIVATIVES[type(activation)](preactivations)  # s'(z) (N, J)
    weights = (output.weight * slopes.unsqueeze(1)) @ by_channel  # (N, C, J) (J, K)
    return units, weights


def _spreads_evenly(pooling: Sequence[nn.Module]) -> bool:
    """Whether each pooled gradient reaches A once: no pooling, or one whose windows are apart."""
    match pooling:
        case []:
            return True
        case [nn.MaxPool2d() as pool]:
            return pool.padding == 0 and pool.dilation == 1 and pool.stride == pool.kernel_size
        case [nn.AvgPool2d() as pool]:
            apart = pool.padding == 0 and pool.stride == pool.kernel_size
            return apart and pool.divisor_override is None
        case _:
            return False
