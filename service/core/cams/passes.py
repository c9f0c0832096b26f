"""Passes of many rows through a whole network: how many at once, and what they are asked for."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from service.core.cams.targets import Outputs, Target
from service.core.cancellation import raise_if_cancelled
from service.core.models.stages import StagedNetwork

# Bytes that the stages' outputs may take in one pass.
PASS_BYTES = 64 * 2**20


def rows_at_once(stages: Iterable[nn.Module], row: Tensor) -> int:
    """How many rows like this one (1, ...) a pass through those stages may take.

    Counts every stage's output, since a pass with gradients keeps all of them; what a composite
    stage makes inside is not counted.
    """
    signal, numbers = row, row.numel()
    with torch.no_grad():
        for stage in stages:
            signal = stage(signal)
            numbers += signal.numel()
    return max(1, PASS_BYTES // (numbers * row.element_size()))


def scores(network: StagedNetwork, target: Target, images: Tensor) -> Tensor:
    """The target's scores of all classes (N, C), which perturbation methods watch."""
    raise_if_cancelled()
    with torch.no_grad():
        return target.scores(Outputs(network(images), network.output_activation))


def mixed(network: StagedNetwork, target: Target, units: Tensor, class_index: int) -> Tensor:
    """sum_j M_cj x_j (N,): what has the gradient of score_c, of units with their graph.

    M is held fixed. So the score's gradient is taken as the table of targets tells it, which keeps
    the digits that autograd would lose in a saturated softmax.
    """
    raise_if_cancelled()
    mixing = target.score_jacobian(Outputs(units.detach(), network.output_activation))
    if mixing is None:
        return units[:, class_index]
    return (units * mixing[:, class_index].to(units.dtype)).sum(1)
