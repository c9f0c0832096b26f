"""Cutting a network at a layer: the activations below, and the head above.

One forward pass gives, for all images and classes, what every method begins with: the activations
A, the units x, and gradients by A: averaged over positions (equation 4), or in full.
"""

import torch
from torch import Tensor

from service.core.cams.head import GRADIENT_CHUNK_BYTES, HeadPass
from service.core.models.placement import Placement, compute_placement
from service.core.models.stages import StagedNetwork


class Cut(HeadPass):
    """A network cut at a layer, for N images float32 (N, D, h, w).

    The network is in evaluation mode; nothing of it is changed, so threads may share it. Raises
    UnknownName for a layer that it has not; the layer `input` is the image itself.
    """

    def __init__(
        self,
        network: StagedNetwork,
        images: Tensor,
        layer: str,
        gradient_bytes: int = GRADIENT_CHUNK_BYTES,
    ) -> None:
        below, head = network.split_at(layer)
        with torch.no_grad():
            signal = images
            for stage in below:
                signal = stage(signal)
        super().__init__(head, signal, network.output_activation, gradient_bytes)
        self._below = below
        self.network = network
        self.images = images
        self.layer = layer

    @property
    def placement(self) -> Placement:
        """Where its positions lie; spread evenly where a stage's geometry is unknown."""
        try:
            return compute_placement(self._below)
        except (TypeError, ValueError):
            return Placement.evenly_spaced(self.activations.shape[3], self.images.shape[3])
