"""Sanity checks: a map that is unchanged when weights are randomized does not explain them."""

import copy
from collections.abc import Callable, Iterator

import torch
from camreel.program.constants import CONSTANT_PREFIX
from torch import Tensor, nn

from service.core.measures.measure import Direction, EvaluationBatch, Measure
from service.core.measures.similarity import spearman, ssim
from service.core.models import StagedNetwork
from service.core.models.network import Network
from service.core.models.program_network import ProgramClassifier


def randomized_spearman(batch: EvaluationBatch) -> Tensor:
    """Values (N,), -1..1."""
    return _mean_similarity(batch, spearman)


RANDOMIZED_SPEARMAN = Measure(
    name="randomized-spearman",
    title="Sanity check, by ranks",
    description="How similar the map stays, by ranks, as the network is randomized layer by layer "
    "from the top. A map that stays the same explains no weights.",
    formula="mean over the cascade of Spearman(L_randomized, L)",
    source="Adebayo et al., Sanity Checks for Saliency Maps (arXiv:1810.03292), section 3.1",
    year=2018,
    range=(-1, 1),
    better_direction=Direction.LOWER,
    compute=randomized_spearman,
)


def randomized_ssim(batch: EvaluationBatch) -> Tensor:
    """Values (N,), -1..1."""
    return _mean_similarity(batch, ssim)


RANDOMIZED_SSIM = Measure(
    name="randomized-ssim",
    title="Sanity check, by structure",
    description="How similar the map stays, by SSIM, as the network is randomized layer by layer "
    "from the top. A map that stays the same explains no weights.",
    formula="mean over the cascade of SSIM(L_randomized, L)",
    source="Adebayo et al., Sanity Checks for Saliency Maps (arXiv:1810.03292), section 3.1",
    year=2018,
    range=(-1, 1),
    better_direction=Direction.LOWER,
    compute=randomized_ssim,
)


def untrained_spearman(batch: EvaluationBatch) -> Tensor:
    """Values (N,), -1..1."""
    return spearman(batch.cached(untrained_maps), batch.maps)


UNTRAINED_SPEARMAN = Measure(
    name="untrained-spearman",
    title="Similarity to epoch 0, by ranks",
    description="How similar the map is, by ranks, to that of the same run's untrained network. "
    "An equal map explains nothing that was learned.",
    formula="Spearman(L_epoch0, L)",
    source="after Adebayo et al., Sanity Checks for Saliency Maps",
    year=2018,
    range=(-1, 1),
    better_direction=Direction.LOWER,
    compute=untrained_spearman,
    needs_untrained=True,
)


def untrained_ssim(batch: EvaluationBatch) -> Tensor:
    """Values (N,), -1..1."""
    return ssim(batch.cached(untrained_maps), batch.maps)


UNTRAINED_SSIM = Measure(
    name="untrained-ssim",
    title="Similarity to epoch 0, by structure",
    description="How similar the map is, by SSIM, to that of the same run's untrained network. An "
    "equal map explains nothing that was learned.",
    formula="SSIM(L_epoch0, L)",
    source="after Adebayo et al., Sanity Checks for Saliency Maps",
    year=2018,
    range=(-1, 1),
    better_direction=Direction.LOWER,
    compute=untrained_ssim,
    needs_untrained=True,
)


def randomized_maps(batch: EvaluationBatch) -> Tensor:
    """Maps (L, N, h, w) of the L networks of the cascade."""
    maps = [
        batch.explain(network, batch.images, batch.classes)
        for _, network in cascade(batch.network, batch.seed)
    ]
    return torch.stack(maps)


def untrained_maps(batch: EvaluationBatch) -> Tensor:
    """Maps (N, h, w) of the run's network at epoch 0. Raises ValueError for a batch without it."""
    if batch.untrained is None:
        raise ValueError("the batch has no untrained network")
    return batch.explain(batch.untrained, batch.images, batch.classes)


def cascade(network: Network, seed: int) -> Iterator[tuple[str, Network]]:
    """Copies of the network whose layers are randomized one by one, from the top.

    Yields each in evaluation mode with the name of the layer randomized last. It may be the same
    copy each time: use it before the next step. The network itself is not changed.
    """
    generator = torch.Generator().manual_seed(seed)
    if isinstance(network, ProgramClassifier):
        yield from _cascade_of_program(network, generator)
    elif isinstance(network, StagedNetwork):
        yield from _cascade_of_stages(network, generator)
    else:
        raise TypeError(f"no weights to randomize in {type(network).__name__}")


def _cascade_of_program(
    network: ProgramClassifier, generator: torch.Generator
) -> Iterator[tuple[str, ProgramClassifier]]:
    tensors = dict(network.tensors)
    names_by_module: dict[str, list[str]] = {}
    for name in tensors:
        if not name.startswith(CONSTANT_PREFIX):
            names_by_module.setdefault(name.rpartition(".")[0], []).append(name)
    for module, names in reversed(names_by_module.items()):
        weights = [tensors[name] for name in names if tensors[name].ndim > 1]
        for name in names:
            limit = weights[0][0].numel() ** -0.5 if weights else None
            tensors[name] = _randomized(name, tensors[name], limit, generator)
        yield module, ProgramClassifier(network.program, tensors)


def _randomized(
    name: str, tensor: Tensor, limit: float | None, generator: torch.Generator
) -> Tensor:
    """Uniform in -limit..limit; for a module without a fan in, as a normalization begins."""
    if not tensor.is_floating_point():
        return tensor
    if limit is not None:
        numbers = torch.rand(tensor.shape, generator=generator)
        return (limit * (2 * numbers - 1)).to(tensor)
    is_factor = name.endswith(("weight", "running_var"))
    return torch.ones_like(tensor) if is_factor else torch.zeros_like(tensor)


def _cascade_of_stages(
    network: StagedNetwork, generator: torch.Generator
) -> Iterator[tuple[str, StagedNetwork]]:
    randomized = copy.deepcopy(network).eval()
    for name, stage in reversed(list(randomized.named_children())):
        if any(True for _ in stage.parameters()):
            randomize(stage, generator)
            yield name, randomized


@torch.no_grad()
def randomize(stage: nn.Module, generator: torch.Generator) -> None:
    """Draws weights and biases as torch initializes them: uniform within 1 / sqrt(fan in).

    Modules without a fan in, such as normalizations, are reset. torch's own initialization draws
    from the process's generator, which other threads use, too.
    """
    for module in stage.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 1:
            limit = weight[0].numel() ** -0.5
            for tensor in module.parameters(recurse=False):
                numbers = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(limit * (2 * numbers - 1))
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()


def _mean_similarity(
    batch: EvaluationBatch, similarity: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    cascade_maps = batch.cached(randomized_maps)
    return torch.stack([similarity(maps, batch.maps) for maps in cascade_maps]).mean(0)


SANITY_MEASURES = (RANDOMIZED_SPEARMAN, RANDOMIZED_SSIM, UNTRAINED_SPEARMAN, UNTRAINED_SSIM)
