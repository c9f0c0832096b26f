"""A forward pass through a network that is split at a layer: the activations, and the head above.

One pass gives, for all images and classes, what every method starts from: the activations A, the
pre-activations x, and gradients by A, averaged over positions (equation 4) or in full.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from service.core.cams.head_gradients import (
    GRADIENT_CHUNK_BYTES,
    GradientBackend,
    HeadRun,
    choose_backend,
    chunk_size,
    cotangents_of,
)
from service.core.cams.targets import Outputs
from service.core.input import InputSpec
from service.core.models.placement import Placement, compute_placement
from service.core.models.stages import Convolution, OutputActivation, StagedNetwork
from service.core.preprocessing import baseline_images, has_zero_baseline


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """sum_k w_k A^k for weights (N, c, K) and activations (N, K, H, W): (N, c, H, W)."""
    return torch.bmm(weights, activations.flatten(2)).view(
        *weights.shape[:2], *activations.shape[2:]
    )


@dataclass(frozen=True)
class Head:
    """The stages of a network above a layer, and the backend of their gradients."""

    stages: Sequence[nn.Module]
    output_activation: OutputActivation

    @cached_property
    def backend(self) -> GradientBackend:
        """How this head's gradients are obtained."""
        return choose_backend(self.stages)


_SPLITS: WeakKeyDictionary[StagedNetwork, dict[str, tuple[Sequence[nn.Module], Head]]] = (
    WeakKeyDictionary()
)
"""The stages below and the head above each layer that was split at, for as long as a network lives.
Matching the form of a head takes longer than some of the operations on a single image."""


def _is_current(network: StagedNetwork, below: Sequence[nn.Module], head: Head) -> bool:
    stages, activation = [*below, *head.stages], head.output_activation
    return stages == list(network) and activation == network.output_activation


class HeadPass:
    """A head run on activations A (N, K, H, W). Costly values are computed on first access."""

    def __init__(
        self, head: Head, activations: Tensor, gradient_bytes: int = GRADIENT_CHUNK_BYTES
    ) -> None:
        """`gradient_bytes` bounds what a chunk of gradients may take."""
        self.head = head
        self.activations = activations
        self.gradient_bytes = gradient_bytes

    @cached_property
    def _run(self) -> HeadRun:
        return self.head.backend.run(self.activations, self.gradient_bytes)

    @property
    def pre_activations(self) -> Tensor:
        """x (N, C), before the output activation."""
        return self._run.pre_activations

    @cached_property
    def outputs(self) -> Outputs:
        """The network's outputs, of which targets are functions."""
        return Outputs(self.pre_activations, self.head.output_activation)

    @property
    def logits(self) -> Tensor:
        """The input of softmax (N, C): x behind the output activation."""
        return self.outputs.logits

    @property
    def channel_weights(self) -> Tensor:
        """alpha (N, C, K): mean over positions of d x_c / d A_k. Equation 4."""
        return self._run.channel_weights

    @cached_property
    def pre_activation_maps(self) -> Tensor:
        """sum_k alpha_k A^k of every pre-activation (N, C, H W). Equation 2 before its ReLU."""
        return torch.bmm(self.channel_weights, self.activations.flatten(2))

    def score_weights(self, score_jacobian: Tensor | None, classes: Sequence[int]) -> Tensor:
        """Mean over positions of d score_c / d A_k for those classes, (N, c, K).

        `score_jacobian` is d score / d x (N, C, C); None: the scores are the pre-activations.
        """
        return self._run.score_weights(score_jacobian, classes)

    def gradients(
        self, score_jacobian: Tensor | None, classes: Sequence[int], tensors_per_class: int = 1
    ) -> Iterator[Tensor]:
        """d score_c / d A for those classes, in chunks of classes: each (c, N, K, H, W).

        `score_jacobian` is d score / d x (N, C, C); None: the scores are the pre-activations. The
        caller holds `tensors_per_class` tensors of a gradient's size at once, which chunks of
        `gradient_bytes` account for.
        """
        rows = cotangents_of(self.pre_activations, score_jacobian, classes)
        size = chunk_size(self.activations, self.gradient_bytes // tensors_per_class)
        for chunk in torch.split(rows, size):
            yield self._run.gradients(chunk)

    def with_activations(self, activations: Tensor) -> "HeadPass":
        """The same head on other activations (N', K, H, W)."""
        return HeadPass(self.head, activations, self.gradient_bytes)


@dataclass(frozen=True)
class NetworkSplit:
    """A network in evaluation mode, split at a layer. Threads may share it: nothing is changed."""

    network: StagedNetwork
    layer: str
    below: Sequence[nn.Module]
    head: Head
    input_spec: InputSpec | None = None  # of the network's images; None: levels 0..1

    @classmethod
    def at(
        cls, network: StagedNetwork, layer: str, input_spec: InputSpec | None = None
    ) -> "NetworkSplit":
        """Split at a layer of the network, or at `input`, the image. Raises UnknownName."""
        splits = _SPLITS.setdefault(network, {})
        if layer not in splits or not _is_current(network, *splits[layer]):
            below, above = network.split_at(layer)
            splits[layer] = below, Head(above, network.output_activation)
        return cls(network, layer, *splits[layer], input_spec)

    @property
    def has_rectified_activations(self) -> bool:
        """Whether the layer ends with a ReLU, so that its activations are >= 0."""
        return bool(self.below) and isinstance(self.below[-1], Convolution)

    def run(self, images: Tensor, gradient_bytes: int = GRADIENT_CHUNK_BYTES) -> "LayerPass":
        """A forward pass of images float32 (N, D, h, w)."""
        with torch.no_grad():
            signal = images
            for stage in self.below:
                signal = stage(signal)
        return LayerPass(self, images, signal, gradient_bytes)


class LayerPass(HeadPass):
    """A network split at a layer, run on N images float32 (N, D, h, w)."""

    def __init__(
        self, split: NetworkSplit, images: Tensor, activations: Tensor, gradient_bytes: int
    ) -> None:
        super().__init__(split.head, activations, gradient_bytes)
        self.split = split
        self.images = images

    @property
    def network(self) -> StagedNetwork:
        """The whole network."""
        return self.split.network

    @property
    def baseline(self) -> Tensor | None:
        """What removed pixels are replaced by (N, D, h, w); None: 0."""
        if has_zero_baseline(self.split.input_spec):
            return None
        return baseline_images(self.images, self.split.input_spec)

    @property
    def activation_peaks(self) -> Tensor:
        """The largest |A| of each image (N,)."""
        positions = (1, 2, 3)
        peaks = self.activations.amax(positions)
        if self.split.has_rectified_activations:
            return peaks
        # Two passes without a copy are faster than aminmax.
        return torch.maximum(peaks, -self.activations.amin(positions))

    @property
    def placement(self) -> Placement:
        """Where its positions lie; spread evenly where a stage's geometry is unknown."""
        try:
            return compute_placement(self.split.below)
        except (TypeError, ValueError):
            return Placement.evenly_spaced(self.activations.shape[3], self.images.shape[3])

    def with_images(self, images: Tensor) -> "LayerPass":
        """The same split run on other images (N', D, h, w)."""
        return self.split.run(images, self.gradient_bytes)


def run_to_layer(
    network: StagedNetwork,
    images: Tensor,
    layer: str,
    gradient_bytes: int = GRADIENT_CHUNK_BYTES,
) -> LayerPass:
    """A forward pass split at `layer`, for a single use of the split. Raises UnknownName."""
    return NetworkSplit.at(network, layer).run(images, gradient_bytes)
