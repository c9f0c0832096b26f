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
from service.core.models.network import Crossing, Network, OutputActivation, SplitNetwork
from service.core.models.placement import Placement
from service.core.models.stages import StagedNetwork, StagedSplit
from service.core.preprocessing import baseline_images, has_zero_baseline


def weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """sum_k w_k A^k for weights (N, c, K) and activations (N, K, H, W): (N, c, H, W)."""
    return torch.bmm(weights, activations.flatten(2)).view(
        *weights.shape[:2], *activations.shape[2:]
    )


@dataclass(frozen=True)
class Head:
    """A network above a layer, and the backend of its gradients."""

    split: SplitNetwork

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""
        return self.split.output_activation

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The head as a chain of modules; empty if it is none."""
        return self.split.stages

    @cached_property
    def backend(self) -> GradientBackend:
        """How this head's gradients are obtained."""
        return choose_backend(self.split)


_SPLITS: WeakKeyDictionary[Network, dict[str, Head]] = WeakKeyDictionary()
"""The head above each layer that was split at, for as long as a network lives. Matching the form of
a head takes longer than some of the operations on a single image."""


def _is_current(network: Network, split: SplitNetwork) -> bool:
    """Whether a split still consists of the network's stages. Programs never change."""
    if not isinstance(network, StagedNetwork) or not isinstance(split, StagedSplit):
        return True
    stages = [*split.stages_below, *split.stages]
    return stages == list(network) and split.output_activation == network.output_activation


class HeadPass:
    """A head run on activations A (N, K, H, W). Costly values are computed on first access."""

    def __init__(
        self,
        head: Head,
        activations: Tensor,
        crossing: Crossing | None = None,
        gradient_bytes: int = GRADIENT_CHUNK_BYTES,
    ) -> None:
        """`gradient_bytes` bounds what a chunk of gradients may take."""
        self.head = head
        self.activations = activations
        self.crossing = crossing
        self.gradient_bytes = gradient_bytes

    def evaluate_head(self, activations: Tensor) -> Tensor:
        """x (N, C) of other activations (N, K, H, W) of the same images."""
        return self.head.split.head(activations, self.crossing)

    @cached_property
    def _run(self) -> HeadRun:
        crossing = self.crossing
        return self.head.backend.run(self.activations, crossing, self.gradient_bytes)

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

    def with_activations(self, activations: Tensor, images: Tensor | None = None) -> "HeadPass":
        """The same head on other activations (M, K, H, W).

        `images` int64 (M,) are the indices of the images they belong to; None: the same images.
        """
        crossing = self.crossing
        if crossing is not None and images is not None:
            crossing = crossing.select(images)
        return HeadPass(self.head, activations, crossing, self.gradient_bytes)


@dataclass(frozen=True)
class NetworkSplit:
    """A network in evaluation mode, split at a layer. Threads may share it: nothing is changed."""

    network: Network
    layer: str
    head: Head
    input_spec: InputSpec | None = None  # of the network's images; None: levels 0..1

    @classmethod
    def at(
        cls, network: Network, layer: str, input_spec: InputSpec | None = None
    ) -> "NetworkSplit":
        """Split at a layer of the network, or at `input`, the image. Raises UnknownName."""
        heads = _SPLITS.setdefault(network, {})
        if layer not in heads or not _is_current(network, heads[layer].split):
            heads[layer] = Head(network.split(layer))
        return cls(network, layer, heads[layer], input_spec)

    def run(self, images: Tensor, gradient_bytes: int = GRADIENT_CHUNK_BYTES) -> "LayerPass":
        """A forward pass of images float32 (N, D, h, w)."""
        with torch.no_grad():
            activations, crossing = self.head.split.below(images)
        return LayerPass(self, images, activations, crossing, gradient_bytes)


class LayerPass(HeadPass):
    """A network split at a layer, run on N images float32 (N, D, h, w)."""

    def __init__(
        self,
        split: NetworkSplit,
        images: Tensor,
        activations: Tensor,
        crossing: Crossing | None,
        gradient_bytes: int,
    ) -> None:
        super().__init__(split.head, activations, crossing, gradient_bytes)
        self.split = split
        self.images = images

    @property
    def network(self) -> Network:
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
        if self.head.split.is_rectified:
            return peaks
        # Two passes without a copy are faster than aminmax.
        return torch.maximum(peaks, -self.activations.amin(positions))

    @property
    def placement(self) -> Placement:
        """Where its positions lie; spread evenly where a stage's geometry is unknown."""
        placement = self.head.split.placement
        if placement is not None:
            return placement
        return Placement.evenly_spaced(self.activations.shape[3], self.images.shape[3])

    def with_images(self, images: Tensor) -> "LayerPass":
        """The same split run on other images (N', D, h, w)."""
        return self.split.run(images, self.gradient_bytes)


def run_to_layer(
    network: Network,
    images: Tensor,
    layer: str,
    gradient_bytes: int = GRADIENT_CHUNK_BYTES,
) -> LayerPass:
    """A forward pass split at `layer`, for a single use of the split. Raises UnknownName."""
    return NetworkSplit.at(network, layer).run(images, gradient_bytes)
