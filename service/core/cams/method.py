"""What a line of the table of methods is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from service.core.cams.cut import Cut
from service.core.cams.fusion import Fusion, mean
from service.core.cams.targets import TARGETS, Target
from service.core.parameters import Parameters

ALL_TARGETS = ("unit", *(name for name in TARGETS if name != "unit"))
CLASS_AGNOSTIC: tuple[str, ...] = ()


class Cost(StrEnum):
    """How the time of a map grows."""

    FORWARD = "forward"  # one forward pass for all classes
    GRADIENT = "gradient"  # and a gradient of the head for each class
    SAMPLES = "samples"  # so many gradients or passes for each sample or step
    PERTURBATIONS = "perturbations"  # a forward pass for each channel, patch or sample


class AttributionLevel(StrEnum):
    """Where a map's positions are."""

    LAYER = "layer"  # those of the layer that is asked for
    INPUT = "input"  # the image's pixels: such a method takes no layer
    MULTI_LAYER = "layers"  # the finest of several layers, which it combines


class NoParameters(Parameters):
    """For a method that has none."""


class Samples(Parameters):
    """Of methods that average over random samples."""

    samples: PositiveInt = Field(8, le=512, description="Random samples averaged.")
    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Of the random numbers.")


class Steps(Parameters):
    """Of methods that integrate along a path."""

    steps: PositiveInt = Field(8, le=256, description="Points of the midpoint rule.")


class Seeded(Parameters):
    """Of methods that draw random numbers."""

    seed: NonNegativeInt = Field(0, le=2**32 - 1, description="Of the random numbers.")


Compute = Callable[[Cut, Target, Any, Sequence[int]], Tensor]
"""Maps (N, c, H, W) before their last ReLU, of a cut, for a target, with the method's parameters,
for c classes."""


@dataclass(frozen=True)
class Method:
    """One line of the table."""

    name: str
    title: str
    description: str
    formula: str
    source: str
    year: int
    cost: Cost
    compute: Compute
    targets: tuple[str, ...] = ALL_TARGETS  # the first is the default; none: looks at no class
    parameters: type[Parameters] = NoParameters
    attribution_level: AttributionLevel = AttributionLevel.LAYER
    fusion: Fusion = mean  # of several layers' maps
