"""Batched passes through a whole network: batch sizes, scores, and noise for each image.

Random numbers depend on a seed and an image alone: a repeated request gives the same bytes, and an
image has the same map in any batch.
"""

import hashlib

import torch
from torch import Tensor

from service.core.cams.targets import Outputs, Target
from service.core.cancellation import raise_if_cancelled
from service.core.models.network import Network

PASS_BYTES = 64 * 2**20
"""Bound of the stages' outputs in one pass, in bytes."""


def rows_per_pass(network: Network, image: Tensor) -> int:
    """How many images like this one (1, D, h, w) a forward pass takes within PASS_BYTES."""
    return rows_within(network.count_values(image), image)


def rows_within(values: int, row: Tensor) -> int:
    """How many rows like this one (1, ...), from each of which that many values are computed.

    All of them count, since a pass with gradients keeps them.
    """
    return max(1, PASS_BYTES // ((row.numel() + values) * row.element_size()))


def scores(network: Network, target: Target, images: Tensor) -> Tensor:
    """The target's scores of all classes (N, C), without a graph. Raises RequestCancelled."""
    raise_if_cancelled()
    with torch.no_grad():
        return target.scores(Outputs(network(images), network.output_activation))


def linearized_score(
    network: Network, target: Target, pre_activations: Tensor, class_index: int
) -> Tensor:
    """sum_j M_cj x_j (N,), whose gradient is that of score_c; x (N, C) with its graph.

    M = d score / d x is the target's own, held constant: it keeps the digits that autograd loses in
    a saturated softmax. Raises RequestCancelled.
    """
    raise_if_cancelled()
    outputs = Outputs(pre_activations.detach(), network.output_activation)
    jacobian = target.score_jacobian(outputs)
    if jacobian is None:
        return pre_activations[:, class_index]
    return (pre_activations * jacobian[:, class_index].to(pre_activations.dtype)).sum(1)


def image_generator(seed: int, image: Tensor) -> torch.Generator:
    """The random generator of a seed and one image float32 (D, h, w)."""
    digest = hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes())
    digest.update(str(seed).encode())
    return torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "little"))


def normal_noise(images: Tensor, samples: int, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers (samples, N, *shape), from each image's own generator."""
    noise = []
    for image in images:
        raise_if_cancelled()
        numbers = torch.randn((samples, *shape), generator=image_generator(seed, image))
        noise.append(numbers.to(image.device))
    return torch.stack(noise, dim=1)
