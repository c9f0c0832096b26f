"""Batched passes through a whole network: batch sizes, scores, and noise for each image.

Random numbers depend on a seed and an image alone: a repeated request gives the same bytes, and an
image has the same map in any batch.
"""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from service.core.cams.targets import Outputs, Target
from service.core.cancellation import raise_if_cancelled
from service.core.models.stages import StagedNetwork

PASS_BYTES = 64 * 2**20
"""Bound of the stages' outputs in one pass, in bytes."""


def rows_per_pass(stages: Iterable[nn.Module], row: Tensor) -> int:
    """How many rows of this shape (1, ...) a pass through the stages takes within PASS_BYTES.

    Every stage's output counts, since a pass with gradients keeps all of them; what a composite
    stage allocates inside does not.
    """
    signal, numbers = row, row.numel()
    with torch.no_grad():
        for stage in stages:
            signal = stage(signal)
            numbers += signal.numel()
    return max(1, PASS_BYTES // (numbers * row.element_size()))


def scores(network: StagedNetwork, target: Target, images: Tensor) -> Tensor:
    """The target's scores of all classes (N, C), without a graph. Raises RequestCancelled."""
    raise_if_cancelled()
    with torch.no_grad():
        return target.scores(Outputs(network(images), network.output_activation))


def linearized_score(
    network: StagedNetwork, target: Target, pre_activations: Tensor, class_index: int
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
