"""What maps need of a network, whether it is a sequence of stages or a program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, device, nn

from service.core.models.placement import Placement

OutputActivation = Literal["identity", "sigmoid"]

INPUT = "input"
"""The layer below all others: the image itself."""


class Crossing(Protocol):
    """Values that pass a layer beside its activations, such as those of residual connections."""

    def select(self, images: Tensor) -> "Crossing":
        """The values of those images: indices int64 (M,), repeated as often as they occur."""


class TailRun(Protocol):
    """The tail of a neck evaluated on p (N, K), with its gradients in closed form."""

    @property
    def pre_activations(self) -> Tensor:
        """x (N, C)."""

    def class_gradients(self, classes: Sequence[int]) -> Tensor:
        """d x_c / d p for those classes (c, N, K)."""

    def gradients(self, cotangents: Tensor) -> Tensor:
        """d (sum_c v_c x_c) / d p for V vectors v (V, N, C): (V, N, K)."""


@dataclass(frozen=True)
class Neck:
    """A head whose channels stay apart up to a pooled value: x = tail(pool(A))."""

    pool: Callable[[Tensor, Crossing | None], Tensor]
    """p (N, K) of activations A (N, K, H, W); p_k depends on A_k alone."""
    tail: Callable[[Tensor], Tensor]
    """x (N, C) of p (N, K)."""
    linear_weights: Tensor | None
    """W (C, K) if the pooling is the mean over positions and the tail one linear layer."""
    is_mean: bool = False
    """Whether the pooling is the mean over positions."""
    run_tail: Callable[[Tensor], TailRun] | None = None
    """The tail on p (N, K), where its gradients have a closed form."""


class SplitNetwork(Protocol):
    """A network in two parts: below a layer, and the head above it. Threads share it."""

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The head as a chain of modules; empty if it is none."""

    @property
    def neck(self) -> Neck | None:
        """The parts of a pooled head, for heads without `stages`."""

    @property
    def is_rectified(self) -> bool:
        """Whether the layer ends with a ReLU, so that its activations are >= 0."""

    @property
    def placement(self) -> Placement | None:
        """Where the positions lie on the image; None if unknown."""

    def below(self, images: Tensor) -> tuple[Tensor, Crossing | None]:
        """A (N, K, H, W) of images (N, D, h, w), and what else crosses the layer."""

    def head(self, activations: Tensor, crossing: Crossing | None) -> Tensor:
        """x (M, C) of activations (M, K, H, W) and the crossing values of the same images."""

    def count_head_values(self, activations: Tensor) -> int:
        """How many numbers the head computes for one image's activations (1, K, H, W)."""


class Network(Protocol):
    """A classifier in evaluation mode whose output are the pre-activations x (N, C)."""

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""

    @property
    def device(self) -> device:
        """The device of its weights."""

    @property
    def nbytes(self) -> int:
        """Size of its weights, in bytes."""

    @property
    def layers(self) -> Sequence[str]:
        """Names of the layers that have maps."""

    @property
    def default_layer(self) -> str:
        """The layer of maps, unless another is requested."""

    def __call__(self, images: Tensor) -> Tensor:
        """x (N, C) of images float32 (N, D, h, w)."""

    def logits(self, units: Tensor) -> Tensor:
        """The input of softmax: the pre-activations behind the output activation."""

    def split(self, layer: str) -> SplitNetwork:
        """The network split at a layer, or at `input`. Raises UnknownName."""

    def count_values(self, image: Tensor) -> int:
        """How many numbers the network computes for one image (1, D, h, w)."""
