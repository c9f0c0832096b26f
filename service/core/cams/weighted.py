"""The step that most methods end with: channels weighed and summed."""

from torch import Tensor


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """sum_k w_k A^k for weights (N, c, K) and activations (N, K, H, W): (N, c, H, W)."""
    return (weights @ activations.flatten(2)).view(*weights.shape[:2], *activations.shape[2:])
