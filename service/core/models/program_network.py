"""Networks that are described by a program: those that Camreel did not build stage by stage."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from camreel.program import (
    Export,
    Grid,
    Layer,
    Layout,
    Live,
    Program,
    ProgramNetwork,
    Split,
    export_program,
    find_layers,
)
from camreel.program.format import IMAGES
from camreel.program.neck import ProgramNeck, find_neck
from camreel.program.references import Shape
from torch import Tensor, nn

from service.core.models.layers import Layers
from service.core.models.network import INPUT, Crossing, Neck, Network, OutputActivation
from service.core.models.placement import Placement
from service.core.models.stages import StagedNetwork
from service.errors import UnknownName


@dataclass(frozen=True)
class LayerCrossing:
    """What crosses a layer of a program: the live values, and the tokens without a position."""

    live: Live
    activations: Tensor | None
    """Of which the prefix tokens are read (N, T, K); None for grids without such tokens."""

    def select(self, images: Tensor) -> "LayerCrossing":
        """The values of those images: indices int64 (M,), repeated as often as they occur."""
        activations = None if self.activations is None else self.activations[images]
        return LayerCrossing(self.live.select(images), activations)


class ProgramClassifier:
    """A program with its tensors in float32, explained as any other network.

    Nothing in it changes: threads share it.
    """

    def __init__(self, program: Program, tensors: Mapping[str, Tensor]) -> None:
        """Raises InvalidProgram where a tensor is missing."""
        single_precision = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items()
        }
        self.network = ProgramNetwork(program, single_precision)
        self.program = program
        self._layers: dict[str, Layer] = {}
        for layer in find_layers(program):
            self._layers |= dict.fromkeys((layer.name, *layer.aliases), layer)

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""
        return self.program.output_activation

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The weights, buffers and constants by name, in the order of their first use."""
        return self.network.tensors

    @property
    def device(self) -> torch.device:
        """The device of its weights; the CPU for a program without any."""
        tensors = self.network.tensors.values()
        return next((tensor.device for tensor in tensors), torch.device("cpu"))

    @property
    def nbytes(self) -> int:
        """Size of its tensors, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @cached_property
    def layers(self) -> list[str]:
        """Names of the layers that have maps, the shortest of each."""
        return list(dict.fromkeys(layer.name for layer in self._layers.values()))

    @property
    def default_layer(self) -> str:
        """The layer of maps, unless another is requested; of a network without any, the image."""
        return self.program.default_layer or INPUT

    def __call__(self, images: Tensor) -> Tensor:
        """The pre-activations x (N, C) of images float32 (N, D, h, w)."""
        return self.network(images)

    def logits(self, units: Tensor) -> Tensor:
        """The input of softmax: the pre-activations behind the output activation."""
        return torch.sigmoid(units) if self.output_activation == "sigmoid" else units

    def split(self, layer: str) -> "ProgramSplit":
        """The network split at a layer, or at `input`. Raises UnknownName."""
        if layer == INPUT:
            return ProgramSplit(self.network.split(IMAGES), None)
        if layer not in self._layers:
            raise UnknownName("layer", layer, self.layers)
        entry = self._layers[layer]
        return ProgramSplit(self.network.split(entry.value), entry.grid)

    def count_values(self, image: Tensor) -> int:  # noqa: ARG002  the protocol's
        """How many numbers the steps return for one image."""
        return _count(self.program.shapes[1:])


@dataclass(frozen=True)
class ProgramSplit:
    """A program split at a value, whose positions a grid describes; None: the image."""

    split: Split
    grid: Grid | None
    stages = ()

    @property
    def output_activation(self) -> OutputActivation:
        """What stands between the pre-activations and softmax."""
        return self.split.network.program.output_activation

    @property
    def is_rectified(self) -> bool:
        """Whether the layer ends with a ReLU, so that its activations are >= 0."""
        value = self.split.cut.value
        steps = self.split.network.program.steps
        return value != IMAGES and steps[value - 1].operator == "relu"

    @property
    def placement(self) -> Placement | None:
        """Where the positions lie on the image; None if unknown, or not the same on both axes."""
        return Placement(0, 1) if self.grid is None else _placement(self.grid)

    @cached_property
    def neck(self) -> Neck | None:
        """The parts of a pooled head; None if channels mix before they are pooled."""
        if self.grid is None:
            return None
        channel_axis = 1 if self.grid.layout is Layout.CHANNELS_FIRST else len(self._shape) - 1
        neck = find_neck(self.split, channel_axis)
        return None if neck is None else self._adapted(neck)

    def below(self, images: Tensor) -> tuple[Tensor, LayerCrossing]:
        """A (N, K, H, W) of images (N, D, h, w), and what else crosses the layer."""
        activations, live = self.split.below(images)
        if self.grid is None:
            return activations, LayerCrossing(live, None)
        prefix = activations if self.grid.prefix_tokens else None
        return self.grid.maps_of(activations), LayerCrossing(live, prefix)

    def head(self, activations: Tensor, crossing: Crossing | None) -> Tensor:
        """x (M, C) of activations (M, K, H, W) and the crossing values of the same images."""
        crossing = _require(crossing)
        return self.split.head(self._value(activations, crossing), crossing.live)

    def count_head_values(self, activations: Tensor) -> int:  # noqa: ARG002  the protocol's
        """How many numbers the head computes for one image's activations."""
        shapes = self.split.network.program.shapes
        return _count([shapes[index] for index in self.split.cut.head])

    @property
    def _shape(self) -> Shape:
        return self.split.network.program.shapes[self.split.cut.value]

    def _adapted(self, neck: ProgramNeck) -> Neck:
        def pool(activations: Tensor, crossing: Crossing | None) -> Tensor:
            crossing = _require(crossing)
            return neck.pool(self._value(activations, crossing), crossing.live)

        # A mean over tokens is one over more than the positions.
        has_prefix = self.grid is not None and self.grid.prefix_tokens > 0
        return Neck(
            pool,
            neck.tail,
            None if has_prefix else neck.linear_weights,
            neck.is_mean and not has_prefix,
            None if neck.chain is None else neck.chain.run,
        )

    def _value(self, activations: Tensor, crossing: LayerCrossing) -> Tensor:
        """The program's value of activations (N, K, H, W)."""
        if self.grid is None:
            return activations
        return self.grid.activations_of(activations, crossing.activations)


def _count(shapes: Iterable[Shape]) -> int:
    """How many numbers the values of those shapes hold for one image."""
    return sum(
        math.prod(size if isinstance(size, int) else size.factor for size in shape)
        for shape in shapes
    )


def _placement(grid: Grid) -> Placement | None:
    """Where a grid's positions lie; None if unknown, or not the same on both axes."""
    if grid.placement is None:
        return None
    rows, columns = grid.placement
    return Placement(rows.first_center, rows.step) if rows == columns else None


def _require(crossing: Crossing | None) -> LayerCrossing:
    if not isinstance(crossing, LayerCrossing):
        raise TypeError("the head of a program needs the values that cross its layer")
    return crossing


MULTI_LAYER_COUNT = 4
"""Default number of layers for methods that combine several."""


def describe_program(program: Program) -> Layers:
    """The layers of a program that have maps."""
    shapes, placements, names_by_size = {}, {}, {}
    aliases: dict[str, str] = {}
    _, _, width = program.input_shape
    for layer in find_layers(program):
        grid = layer.grid
        placement = _placement(grid) or Placement.evenly_spaced(grid.width, width)
        shapes[layer.name], placements[layer.name] = grid.shape, placement
        aliases |= dict.fromkeys(layer.aliases, layer.name)
        names_by_size[grid.height, grid.width] = layer.name  # the last of each size
    combined_layers = tuple(list(names_by_size.values())[-MULTI_LAYER_COUNT:])
    default_layer = program.default_layer or INPUT
    return Layers(shapes, placements, combined_layers, default_layer, aliases)


_EXPORTS: WeakKeyDictionary[nn.Module, Export] = WeakKeyDictionary()
"""The programs of networks in training, for as long as they live: an export takes seconds."""


def export_once(module: nn.Module, image_shape: tuple[int, int, int]) -> Export:
    """The module's program for images (D, H, W). Raises ExportError."""
    if module not in _EXPORTS:
        device = next(module.parameters()).device
        _EXPORTS[module] = export_program(module, torch.zeros(1, *image_shape, device=device))
    return _EXPORTS[module]


def explained_network(module: nn.Module, image_shape: tuple[int, int, int]) -> Network:
    """A module as the engine explains it: stages as they are, any other as a program.

    It shares the module's weights. Raises ExportError.
    """
    if isinstance(module, StagedNetwork):
        return module
    export = export_once(module, image_shape)
    return ProgramClassifier(export.program, export.tensors(module))
