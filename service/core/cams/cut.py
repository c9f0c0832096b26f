"""Cutting a network at a layer: the activations below, and the gradient of the head above.

One forward pass gives, for all images and classes, everything that both of the paper's methods
need: the activations A, the units x, and the position average of d x_c / d A (equation 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from service.core.cams.closed_form import closed_form
from service.core.models.stages import OutputActivation, StagedNetwork

# Bytes that the gradients of one chunk of classes may take, in the head without a closed form.
GRADIENT_CHUNK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Cut:
    """A network cut at a layer, for N images, K channels of H x W positions, C classes."""

    activations: Tensor  # A (N, K, H, W)
    units: Tensor  # x (N, C), before the output activation
    unit_weights: Tensor  # alpha of equation 4 (N, C, K): mean over positions of d x_c / d A_k
    logits: Tensor  # what softmax takes (N, C): x behind the output activation
    output_activation: OutputActivation


def cut(network: StagedNetwork, images: Tensor, layer: str) -> Cut:
    """Cut the network at `layer` for images float32 (N, D, H, W). Raises UnknownName.

    The network is in evaluation mode; nothing of it is changed, so threads may share it.
    """
    below, head = network.split_at(layer)
    with torch.no_grad():
        signal = images
        for stage in below:
            signal = stage(signal)
        units, weights = closed_form(head, signal) or vector_jacobian(head, signal)
    return Cut(signal, units, weights, network.logits(units), network.output_activation)


def vector_jacobian(head: Sequence[nn.Module], activations: Tensor) -> tuple[Tensor, Tensor]:
    """Units (N, C) and alpha (N, C, K) of any head, by its vector-Jacobian product.

    Batched over classes, in chunks that bound the memory.
    """
    with torch.enable_grad():
        leaf = activations.detach().requires_grad_()
        units = leaf
        for stage in head:
            units = stage(units)
        images, classes = units.shape
        # Images are independent, so the gradient of the sum over them holds each one's own.
        one_hot = torch.eye(classes, device=units.device).unsqueeze(1).expand(-1, images, -1)
        chunk = max(1, GRADIENT_CHUNK_BYTES // (4 * max(1, activations.numel())))
        weights = [
            torch.autograd.grad(units, leaf, some, retain_graph=True, is_grads_batched=True)[
                0
            ].mean((-2, -1))
            for some in torch.split(one_hot, chunk)
        ]
    return units.detach(), torch.cat(weights).transpose(0, 1)
