"""Networks as sequences of named stages, so that maps need no hooks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  torch's own name for it
from torch import Tensor, nn

from service.core.models.architecture import ArchitectureParameters
from service.core.models.network import INPUT, Crossing, OutputActivation
from service.core.models.placement import Placement, compute_placement
from service.errors import UnknownName


class Convolution(nn.Conv2d):
    """A convolution with its ReLU as one stage: its output is the paper's A, which is >= 0."""

    def forward(self, images: Tensor) -> Tensor:
        """ReLU(convolution): (N, D, H, W) -> (N, K, H', W')."""
        convolved = self.convolve(images)
        # In place without a graph: the tensor is not shared, and a copy costs memory traffic.
        return F.relu(convolved) if torch.is_grad_enabled() else convolved.relu_()

    def convolve(self, images: Tensor) -> Tensor:
        """The convolution alone, before its ReLU."""
        return super().forward(images)

    def input_gradients(self, gradients: Tensor, size: tuple[int, int]) -> Tensor:
        """Gradients by the convolution's output (N, K, H', W') as ones by its input of (H, W)."""
        rests = [
            (side + 2 * padding - dilation * (kernel - 1) - 1) % stride
            for side, padding, dilation, kernel, stride in zip(
                size, self._padding, self.dilation, self.kernel_size, self.stride, strict=True
            )
        ]
        return F.conv_transpose2d(
            gradients,
            self.weight,
            stride=self.stride,
            padding=self._padding,
            output_padding=rests,
            groups=self.groups,
            dilation=self.dilation,
        )

    @property
    def _padding(self) -> tuple[int, int]:
        if isinstance(self.padding, str):
            raise TypeError("padding by name is not supported: give its pixels")
        return self.padding[0], self.padding[1]


@dataclass(frozen=True)
class StagedSplit:
    """Stages below a layer, and those above."""

    stages_below: Sequence[nn.Module]
    stages: Sequence[nn.Module]
    output_activation: OutputActivation
    neck = None

    @property
    def is_rectified(self) -> bool:
        """Whether the layer ends with a ReLU, so that its activations are >= 0."""
        return bool(self.stages_below) and isinstance(self.stages_below[-1], Convolution)

    @property
    def placement(self) -> Placement | None:
        """Where the positions lie on the image; None for stages of unknown geometry."""
        try:
            return compute_placement(self.stages_below)
        except (TypeError, ValueError):
            return None

    def below(self, images: Tensor) -> tuple[Tensor, None]:
        """The layer's activations (N, K, H, W)."""
        return _evaluate(self.stages_below, images), None

    def head(self, activations: Tensor, crossing: Crossing | None) -> Tensor:  # noqa: ARG002
        """The pre-activations x (N, C); nothing crosses the layer beside its activations."""
        return _evaluate(self.stages, activations)

    def count_head_values(self, activations: Tensor) -> int:
        """How many numbers the head's stages return; what a composite one computes is left out."""
        return _count_values(self.stages, activations)


def _evaluate(stages: Sequence[nn.Module], signal: Tensor) -> Tensor:
    for stage in stages:
        signal = stage(signal)
    return signal


def _count_values(stages: Sequence[nn.Module], signal: Tensor) -> int:
    count = 0
    with torch.no_grad():
        for stage in stages:
            signal = stage(signal)
            count += signal.numel()
    return count


class StagedNetwork(nn.Sequential):
    """A classifier as a sequence of named stages whose output are the pre-activations x (N, C).

    `output_activation` stands between x and softmax: the identity, or the sigmoid of the paper's
    wording. Children carry the stages' names, and so do the tensors of a checkpoint.
    """

    def __init__(
        self, stages: dict[str, nn.Module], output_activation: OutputActivation = "identity"
    ) -> None:
        super().__init__()
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.output_activation: OutputActivation = output_activation

    def forward(self, images: Tensor) -> Tensor:
        """The pre-activations x (N, C) of images (N, D, H, W).

        ReLU and max pooling commute, values and gradients alike, so while training a ReLU before a
        pooling is taken after it, on a quarter of the positions: same numbers in less time. In
        evaluation the stages are called one by one, so that other libraries' hooks find them.
        """
        if self.training:
            return self._fused(images)
        units: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return units

    def _fused(self, signal: Tensor) -> Tensor:
        relu_due = False
        for stage in self:
            if relu_due and not isinstance(stage, nn.MaxPool2d):
                signal, relu_due = F.relu(signal), False
            if isinstance(stage, Convolution):
                signal, relu_due = stage.convolve(signal), True
            else:
                signal = stage(signal)
        return F.relu(signal) if relu_due else signal

    def logits(self, units: Tensor) -> Tensor:
        """The input of softmax: the pre-activations behind the output activation."""
        return torch.sigmoid(units) if self.output_activation == "sigmoid" else units

    @property
    def layers(self) -> list[str]:
        """Names of the stages whose output has positions, so that they have maps."""
        names = []
        for name, stage in self.named_children():
            if isinstance(stage, nn.Flatten):
                break
            names.append(name)
        return names

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutional stages."""
        return tuple(n for n, stage in self.named_children() if isinstance(stage, Convolution))

    @property
    def last_convolution(self) -> str:
        """Name of the last convolutional stage: the default layer of Grad-CAM."""
        return self.convolutions[-1]

    @property
    def default_layer(self) -> str:
        """The last convolutional stage."""
        return self.last_convolution

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.parameters()).device

    @property
    def nbytes(self) -> int:
        """Size of its weights, in bytes."""
        return sum(parameter.nbytes for parameter in self.parameters())

    def split(self, layer: str) -> StagedSplit:
        """The network split at a layer, or at `input`. Raises UnknownName."""
        return StagedSplit(*self.split_at(layer), self.output_activation)

    def count_values(self, image: Tensor) -> int:
        """How many numbers the stages return for one image (1, D, h, w)."""
        return _count_values(list(self), image)

    def split_at(self, layer: str) -> tuple[Sequence[nn.Module], Sequence[nn.Module]]:
        """The stages up to and with `layer`, and the head above. Raises UnknownName."""
        if layer == INPUT:
            return [], list(self)
        if layer not in self.layers:
            raise UnknownName("layer", layer, self.layers)
        stages = list(self)
        index = [name for name, _ in self.named_children()].index(layer) + 1
        return stages[:index], stages[index:]


class StagedArchitecture(ArchitectureParameters):
    """Base of the architectures whose networks are sequences of stages."""

    def build(self, image_shape: tuple[int, int, int], classes: int) -> StagedNetwork:
        """The network for images (D, H, W), with torch's default initialization."""
        raise NotImplementedError


def require_staged(network: nn.Module) -> StagedNetwork:
    """The network, as one of stages. Raises TypeError for any other: it has no maps."""
    if not isinstance(network, StagedNetwork):
        raise TypeError(f"{type(network).__name__} is not a sequence of stages")
    return network


def compute_logits(network: nn.Module, pre_activations: Tensor) -> Tensor:
    """The input of softmax (N, C): x behind the output activation, which only stages have."""
    if isinstance(network, StagedNetwork):
        return network.logits(pre_activations)
    return pre_activations
