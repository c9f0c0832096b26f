"""Ablation-CAM: channels weighed by what their absence costs the score."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from service.core.cams import passes
from service.core.cams.closed_form import ClosedHead
from service.core.cams.cut import Cut
from service.core.cams.head import HeadPass
from service.core.cams.targets import Outputs, Target
from service.core.cams.weighted import weighted_sum
from service.core.cancellation import raise_if_cancelled
from service.core.parameters import Parameters

# Below it a score is 0 for the quotient's sake.
TINY = 1e-30


def ablation_cam(cut: Cut, target: Target, _: Parameters, classes: Sequence[int]) -> Tensor:
    """sum_k w_k A^k (N, c, H, W), w_k = (y - y_k) / |y|, y_k being the score without channel k.

    Desai and Ramaswamy, Ablation-CAM, WACV 2020. Deliberately not as pytorch-grad-cam: it divides
    by y, which turns the map round where the score is negative, so that evidence against the class
    would shine; and where the smallest activation is not 0 it sets the channel to 1e7 below that,
    rather than to 0 as the paper. A score of 0 divides by nothing.
    """
    chosen = list(classes)
    units = ablated_units(cut)  # (N, K, C)
    whole = target.scores(cut.outputs)[:, None, chosen]
    without = target.scores(Outputs(units.flatten(0, 1), cut.output_activation))
    losses = whole - without.view_as(units)[..., chosen]  # (N, K, c)
    sizes = whole.abs()
    weights = losses / torch.where(sizes <= TINY, 1, sizes)
    return weighted_sum(weights.mT, cut.activations)


def ablated_units(above: HeadPass) -> Tensor:
    """Units (N, K, C) of each image with each of its K channels set to 0."""
    head = ClosedHead.match(above.head)
    with torch.no_grad():
        if head is None:
            units = torch.cat(list(_by_passes(above)))
            return units.view(*above.activations.shape[:2], -1)
        return torch.cat(list(_by_differences(head, above.activations)))


def _by_passes(above: HeadPass) -> Iterator[Tensor]:
    """Copies of A through the head, each without one channel: units (k, C), image after image."""
    rows = passes.rows_at_once(above.head, above.activations[:1])
    for activations in above.activations:
        for channels in torch.split(torch.arange(len(activations)), rows):
            raise_if_cancelled()
            copies = activations.repeat(len(channels), 1, 1, 1)
            copies[torch.arange(len(channels)), channels] = 0
            yield above.with_activations(copies).pre_activations


def _by_differences(head: ClosedHead, activations: Tensor) -> Iterator[Tensor]:
    """The same where the first linear layer stands behind a pooling, (n, K, C).

    Pooling takes each channel by itself and leaves 0 as it is, so that without channel k that layer
    gives z_k = z - W1_k P_k.
    """
    first = head.output if head.hidden is None else head.hidden[0]
    channels = activations.shape[1]
    by_channel = first.weight.view(first.out_features, channels, -1).permute(1, 2, 0).contiguous()
    numbers = 2 * channels * first.out_features * activations.element_size()
    for some in torch.split(activations, max(1, passes.PASS_BYTES // numbers)):
        pooled = some if head.pooling is None else head.pooling(some)
        shares = pooled.flatten(2).transpose(0, 1) @ by_channel  # (K, n, J)
        signal = first(pooled.flatten(1)).unsqueeze(1) - shares.transpose(0, 1)
        if head.hidden is not None:
            signal = head.output(head.hidden[1](signal))
        yield signal
