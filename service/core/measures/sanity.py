"""Sanity checks: a map that stays the same when the weights are lost does not explain them."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from service.core.measures.likeness import spearman, ssim
from service.core.measures.measure import EvaluationBatch
from service.core.models import StagedNetwork


def randomized_spearman(subject: EvaluationBatch) -> Tensor:
    """Rank correlation with the maps of randomized networks, mean over the cascade, -1..1, (N,).

    Adebayo et al. 2018, Sanity Checks for Saliency Maps (arXiv:1810.03292), section 3.1.
    """
    return _mean_likeness(subject, spearman)


def randomized_ssim(subject: EvaluationBatch) -> Tensor:
    """SSIM with the maps of randomized networks, mean over the cascade, -1..1, (N,).

    Adebayo et al. 2018, Sanity Checks for Saliency Maps (arXiv:1810.03292), section 3.1.
    """
    return _mean_likeness(subject, ssim)


def untrained_spearman(subject: EvaluationBatch) -> Tensor:
    """Rank correlation with the maps of the run's network at epoch 0, -1..1, (N,)."""
    return spearman(subject.cached(untrained_maps), subject.maps)


def untrained_ssim(subject: EvaluationBatch) -> Tensor:
    """SSIM with the maps of the run's network at epoch 0, -1..1, (N,)."""
    return ssim(subject.cached(untrained_maps), subject.maps)


def randomized_maps(subject: EvaluationBatch) -> Tensor:
    """Maps (L, N, h, w) of the network as more and more of it is randomized, from the top."""
    explained = [
        subject.explain(network, subject.images, subject.classes)
        for _, network in cascade(subject.network, subject.seed)
    ]
    return torch.stack(explained)


def untrained_maps(subject: EvaluationBatch) -> Tensor:
    """Maps (N, h, w) of the run's network at epoch 0. Raises ValueError where there is none."""
    if subject.untrained is None:
        raise ValueError("the subject has no untrained network")
    return subject.explain(subject.untrained, subject.images, subject.classes)


def cascade(network: StagedNetwork, seed: int) -> Iterator[tuple[str, StagedNetwork]]:
    """A copy of the network, its stages with weights randomized one by one from the top.

    Each comes with the name of the stage that lost its weights last, in evaluation mode. It is one
    copy throughout: look at it before the next. The network itself stays as it is.
    """
    changed = copy.deepcopy(network).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, stage in reversed(list(changed.named_children())):
        if any(True for _ in stage.parameters()):
            randomize(stage, generator)
            yield name, changed


@torch.no_grad()
def randomize(stage: nn.Module, generator: torch.Generator) -> None:
    """Weights and biases drawn anew as torch first drew them: uniform within 1 / sqrt(fan in).

    What has no fan in, as a normalization, is set back to its beginning. Torch's own
    initialization would draw from the process's one generator, that other threads use too.
    """
    for module in stage.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            bound = weight[0].numel() ** -0.5
            for tensor in module.parameters(recurse=False):
                drawn = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(bound * (2 * drawn - 1))
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()


def _mean_likeness(
    subject: EvaluationBatch, likeness: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    randomized = subject.cached(randomized_maps)
    return torch.stack([likeness(maps, subject.maps) for maps in randomized]).mean(0)
