"""Gradients of common heads without a backward pass.

Above the last convolution of Table 1 stand: a non-overlapping pooling, flatten, linear (W1),
activation s, linear (W2). There, with P the pooled activations,

    d x_c / d P_kuv = sum_j W2_cj s'(z_j) W1_j,kuv

and pooling passes the gradient of each output to the positions of one window (to the maximum, or
in equal parts for an average), so that the sum over positions of A is the sum over those of P:

    alpha_ck = 1/Z sum_j W2_cj s'(z_j) S_jk,    S_jk = sum_uv W1_j,kuv,    Z = positions of A.

Without a hidden layer (ResNet's head) only W2 remains. A ReLU between pooling and flatten (that of
a convolution below, which commutes with the maximum) restricts the sum over uv to P > 0, which
differs by image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

# sigmoid(z) sigmoid(-z) rather than s (1 - s), and the same for 1 - tanh^2: no cancellation where
# the activation rounds to 1.
DERIVATIVES: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.Sigmoid: lambda z: torch.sigmoid(z) * torch.sigmoid(-z),
    nn.ReLU: lambda z: (z > 0).to(z.dtype),
    nn.Tanh: lambda z: 4 * torch.sigmoid(2 * z) * torch.sigmoid(-2 * z),
}


@dataclass(frozen=True)
class ClosedHead:
    """The layers of a head of the form above."""

    pooling: nn.Module | None
    hidden_layer: tuple[nn.Linear, nn.Module] | None  # with its activation
    output: nn.Linear

    @property
    def first_linear(self) -> nn.Linear:
        """The linear layer above the pooling."""
        return self.output if self.hidden_layer is None else self.hidden_layer[0]

    @cached_property
    def weight_sums(self) -> "WeightSums":
        """S of the first linear layer."""
        return WeightSums(self.first_linear)

    @property
    def has_closed_gradients(self) -> bool:
        """Whether `ClosedPass.gradients` knows the gradient of its pooling."""
        return isinstance(self.pooling, nn.MaxPool2d | nn.AdaptiveAvgPool2d | None)

    @classmethod
    def match(cls, head: Sequence[nn.Module]) -> "ClosedHead | None":
        """The layers of a head, by their part in it; None for a head of another form."""
        stages = [stage for stage in head if not isinstance(stage, nn.Dropout | nn.Identity)]
        pooling = stages.pop(0) if stages and _has_disjoint_windows(stages[0]) else None
        match stages:
            case [nn.Flatten(), nn.Linear() as output]:
                return cls(pooling, None, output)
            case [nn.Flatten(), nn.Linear() as hidden, activation, nn.Linear() as output] if (
                type(activation) in DERIVATIVES
            ):
                return cls(pooling, (hidden, activation), output)
            case _:
                return None


class WeightSums:
    """S (J, K): a linear layer's weights summed over positions, kept while they stay the same.

    A service explains many images by each network that it holds. Weights in training, which change
    from one call to the next, are summed each time.
    """

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._last: tuple[Tensor, tuple[int, int], Tensor] | None = None

    def by_channel(self, channels: int) -> Tensor:
        """S for K channels, each with the same number of positions."""
        weight, last = self._layer.weight, self._last
        version = weight.data_ptr(), weight._version  # noqa: SLF001  counts writes in place
        if last is not None and last[0] is weight and last[1] == version:
            return last[2]
        sums = weight.view(len(weight), channels, -1).sum(-1)
        if not weight.requires_grad:
            self._last = weight, version, sums
        return sums


class ClosedPass:
    """A head run once on activations (N, K, H, W), with what its gradients are computed from."""

    def __init__(self, head: ClosedHead, activations: Tensor, *, rectified: bool = False) -> None:
        """`rectified` puts a ReLU behind the pooling."""
        self._head = head
        self._shape = activations.shape
        self._activations = activations
        self._rectified = rectified
        pooled = activations if head.pooling is None else head.pooling(activations)
        self._pooled: Tensor = pooled.relu() if rectified else pooled
        signal = self._pooled.flatten(1)
        self._hidden_derivative: Tensor | None = None  # s'(z) (N, J)
        if head.hidden_layer is not None:
            linear, activation = head.hidden_layer
            hidden_pre_activations = _linear(linear, signal)
            signal = activation(hidden_pre_activations)
            self._hidden_derivative = DERIVATIVES[type(activation)](hidden_pre_activations)
        self.pre_activations: Tensor = head.output(signal)

    def position_sums(self) -> Tensor:
        """Sum over positions of d x_c / d A_k, (N, C, K)."""
        channels = self._shape[1]
        if self._rectified:
            weight = self._head.first_linear.weight
            by_position = weight.view(len(weight), channels, -1)  # (J, K, uv)
            positive = (self._pooled > 0).to(by_position.dtype).flatten(2)  # (N, K, uv)
            sums = (by_position.transpose(0, 1) @ positive.permute(1, 2, 0)).permute(2, 1, 0)
        else:
            sums = self._head.weight_sums.by_channel(channels)
        if self._hidden_derivative is None:  # J are the classes themselves
            return sums.expand(self._shape[0], -1, -1)
        hidden_jacobian = self._head.output.weight * self._hidden_derivative.unsqueeze(1)
        return hidden_jacobian @ sums  # (N, C, J) (J, K)

    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d A for V vectors v (V, N, C): (V, N, K, H, W).

        Raises TypeError for a head without `has_closed_gradients`.
        """
        first_layer_gradients = cotangents
        if self._hidden_derivative is not None:
            hidden_gradients = cotangents @ self._head.output.weight
            first_layer_gradients = hidden_gradients * self._hidden_derivative
        pooled = first_layer_gradients @ self._head.first_linear.weight
        pooled = pooled.view(*cotangents.shape[:2], *self._pooled.shape[1:])
        if self._rectified:
            pooled = pooled * (self._pooled > 0)
        match self._head.pooling:
            case None:
                return pooled
            case nn.AdaptiveAvgPool2d():
                positions = self._shape[2] * self._shape[3]
                return (pooled / positions).expand(-1, -1, -1, *self._shape[2:])
            case nn.MaxPool2d():
                spread = pooled.new_zeros((*pooled.shape[:3], self._shape[2] * self._shape[3]))
                indices = self._maximum_indices.flatten(2).expand(len(pooled), -1, -1, -1)
                spread = spread.scatter_(3, indices, pooled.flatten(3))
                return spread.view(*pooled.shape[:3], *self._shape[2:])
            case pooling:
                raise TypeError(f"no closed-form gradient for {type(pooling).__name__}")

    @cached_property
    def _maximum_indices(self) -> Tensor:
        """The position of each window's maximum (N, K, u, v), as an index into H W positions."""
        pool = self._head.pooling
        if not isinstance(pool, nn.MaxPool2d):
            raise TypeError("only maximum pooling has maximum positions")
        indices: Tensor = F.max_pool2d(
            self._activations,
            pool.kernel_size,
            pool.stride,
            ceil_mode=pool.ceil_mode,
            return_indices=True,
        )[1]
        return indices


FEW_ROWS = 16
"""Up to this many rows, MKL computes a product with a large matrix in one thread."""

UNIT_GROUPS = 8


def _linear(layer: nn.Linear, rows: Tensor) -> Tensor:
    """The layer's output (N, J) for rows (N, I).

    For few rows, the units are split into groups: threads share a batch of products. Table 1's
    hidden layer takes two thirds of the time for ten images, half for one (two threads).
    """
    units = layer.out_features
    is_divisible = units % UNIT_GROUPS == 0 and layer.bias is not None
    if not (is_divisible and rows.is_cpu and len(rows) <= FEW_ROWS):
        outputs: Tensor = layer(rows)
        return outputs
    weight = layer.weight.view(UNIT_GROUPS, -1, layer.in_features)
    bias = layer.bias.view(UNIT_GROUPS, 1, -1)
    groups = torch.baddbmm(bias, rows.expand(UNIT_GROUPS, -1, -1), weight.mT)
    return groups.transpose(0, 1).reshape(len(rows), units)


def _has_disjoint_windows(stage: nn.Module) -> bool:
    """Whether a stage is a pooling in which each position of A belongs to at most one window."""
    match stage:
        case nn.MaxPool2d() as pool:
            return pool.padding == 0 and pool.dilation == 1 and pool.stride == pool.kernel_size
        case nn.AvgPool2d() as pool:
            disjoint = pool.padding == 0 and pool.stride == pool.kernel_size
            return disjoint and pool.divisor_override is None
        case nn.AdaptiveAvgPool2d() as pool:
            return pool.output_size in (1, (1, 1))
        case _:
            return False
