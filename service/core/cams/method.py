"""The entries of the table of methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from service.core.cams.fusion import Fusion, mean
from service.core.cams.layer_pass import LayerPass
from service.core.cams.targets import TARGETS, Target
from service.core.parameters import Parameters

ALL_TARGETS = ("unit", *(name for name in TARGETS if name != "unit"))
CLASS_AGNOSTIC: tuple[str, ...] = ()


class Cost(StrEnum):
    """What the time of a map is proportional to."""

    FORWARD = "forward"  # one forward pass for all classes
    GRADIENT = "gradient"  # and a gradient of the head for each class
    SAMPLES = "samples"  # gradients or passes for each sample or step
    PERTURBATIONS = "perturbations"  # a forward pass for each channel, patch or sample


class AttributionLevel(StrEnum):
    """What a map's positions are."""

    LAYER = "layer"  # positions of the requested layer
    INPUT = "input"  # the image's pixels: the method takes no layer
    MULTI_LAYER = "layers"  # positions of the finest of several layers, which it combines


class NoParameters(Parameters):
    """Parameters of a method without any."""


class Samples(Parameters):
    """Parameters of methods that average over random samples."""

    samples: PositiveInt = Field(8, le=512, description="Random samples averaged.")
    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Seed of the random numbers.")


class Steps(Parameters):
    """Parameters of methods that integrate along a path."""

    steps: PositiveInt = Field(8, le=256, description="Points of the midpoint rule.")


class Seeded(Parameters):
    """Parameters of methods with random numbers."""

    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Seed of the random numbers.")


Compute = Callable[[LayerPass, Target, Any, Sequence[int]], Tensor]
"""Maps (N, c, H, W) before their last ReLU, from a pass, a target, the method's parameters, and c
classes."""


@dataclass(frozen=True)
class Method:
    """One entry of the table."""

    name: str
    title: str
    description: str
    formula: str
    source: str
    year: int
    cost: Cost
    compute: Compute
    targets: tuple[str, ...] = ALL_TARGETS  # the first is the default; none: class-agnostic
    parameters: type[Parameters] = NoParameters
    attribution_level: AttributionLevel = AttributionLevel.LAYER
    fusion: Fusion = mean  # of several layers' maps


def from_gradients(combine: Callable[[Tensor, Tensor], Tensor]) -> Compute:
    """The method whose maps are `combine(A, G)`, class by class.

    A are activations (N, K, H, W), G gradients (V, N, K, H, W) of V scores; the maps are
    (V, N, H, W).
    """

    def compute(
        layer_pass: LayerPass, target: Target, _: Parameters, classes: Sequence[int]
    ) -> Tensor:
        jacobian = target.score_jacobian(layer_pass.outputs)
        # `combine` holds about two further tensors of the gradient's size.
        chunks = layer_pass.gradients(jacobian, classes, tensors_per_class=3)
        maps = [combine(layer_pass.activations, chunk) for chunk in chunks]
        return torch.cat(maps).transpose(0, 1)

    return compute
