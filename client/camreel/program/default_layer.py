"""The layer that maps are computed for, unless another is requested."""

from collections.abc import Sequence

import torch
from torch import Tensor

from camreel.program.constants import CONSTANT_PREFIX
from camreel.program.format import IMAGES, Program
from camreel.program.interpreter import ProgramNetwork
from camreel.program.layers import Layer

LEAST_COVERAGE = 0.5
"""Share of a layer's positions that the classes have to depend on."""


def choose_default_layer(network: ProgramNetwork, layers: Sequence[Layer]) -> str | None:
    """Name of the last layer of which most positions matter and that is as wide as the last.

    Dependence is measured by gradients with random weights, because a head's own weights may be
    zero before training. Left out are layers whose channels are the classes, where Grad-CAM shows
    one channel, and pooled copies of the layer below. None without layers.
    """
    candidates = [layer for layer in layers if not _is_pooled(network.program, layer)]
    if not candidates:
        return None
    gradients = _gradients(_randomized(network), [layer.value for layer in candidates])
    candidates = [
        layer for layer in candidates if not _is_class_wise(network.program, layer, gradients)
    ]
    if not candidates:
        return None
    channels = candidates[-1].grid.channels
    for layer in reversed(candidates):
        gradient = layer.grid.maps_of(gradients[layer.value][0])
        coverage = (gradient != 0).any(dim=1).float().mean()
        if layer.grid.channels == channels and coverage >= LEAST_COVERAGE:
            return layer.name
    return candidates[-1].name


def _is_pooled(program: Program, layer: Layer) -> bool:
    if layer.value == IMAGES:
        return True
    return program.steps[layer.value - 1].operator.startswith("adaptive")


def _is_class_wise(
    program: Program, layer: Layer, gradients: dict[int, tuple[Tensor, Tensor]]
) -> bool:
    """Whether the first class depends on one channel only."""
    if layer.grid.channels != program.classes:
        return False
    first_class = layer.grid.maps_of(gradients[layer.value][1])
    return int((first_class != 0).any(dim=(0, 2, 3)).sum()) <= 1


def _randomized(network: ProgramNetwork) -> ProgramNetwork:
    """The network with random weights that keep signals of moderate size."""
    generator = torch.Generator().manual_seed(0)

    def random(name: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point() or name.startswith(CONSTANT_PREFIX):
            return tensor
        if tensor.ndim < 2:
            numbers = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            fan_in = max(1, tensor[0].numel())
            numbers = torch.randn(tensor.shape, generator=generator) * (2 / fan_in) ** 0.5
        return numbers.to(tensor)

    tensors = {name: random(name, tensor) for name, tensor in network.tensors.items()}
    return ProgramNetwork(network.program, tensors)


def _gradients(network: ProgramNetwork, values: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """Gradients of a random sum of the classes, and of the first class, by each value."""
    program = network.program
    generator = torch.Generator().manual_seed(1)
    device = next((t.device for t in network.tensors.values()), torch.device("cpu"))
    images = torch.randn((1, *program.input_shape), generator=generator).to(device)
    with torch.enable_grad():
        results = network.values(images.requires_grad_(), (*values, program.logits))
        logits = results[program.logits]
        weights = torch.randn(logits.shape, generator=generator).to(logits)
        leaves = [results[value] for value in values]
        scores = (logits * weights).sum(), logits[0, 0]
        pairs = [
            torch.autograd.grad(score, leaves, retain_graph=True, materialize_grads=True)
            for score in scores
        ]
    return dict(zip(values, zip(*pairs, strict=True), strict=True))
