"""The architectures of runs. A new one is a file here, an entry of the table and a variant."""

from functools import cache
from typing import Annotated

from pydantic import Tag, TypeAdapter

from service.core.models.architecture import ArchitectureParameters, build_structure
from service.core.models.layers import Layers
from service.core.models.lenet5 import LeNet5
from service.core.models.placement import Placement, compute_placement, output_shape
from service.core.models.resnet20 import ResNet20
from service.core.models.stages import StagedArchitecture, StagedNetwork, require_staged
from service.core.models.table1 import Table1
from service.core.models.torchvision_classifiers import TorchvisionClassifier
from service.core.parameters import name_discriminator

MODELS: dict[str, type[ArchitectureParameters]] = {
    "table1": Table1,
    "lenet5": LeNet5,
    "resnet20": ResNet20,
    "torchvision": TorchvisionClassifier,
}
"""By name, or by the family of names such as `torchvision:resnet18`."""

Architecture = Annotated[
    Annotated[Table1, Tag("table1")]
    | Annotated[LeNet5, Tag("lenet5")]
    | Annotated[ResNet20, Tag("resnet20")]
    | Annotated[TorchvisionClassifier, Tag("torchvision")],
    name_discriminator("table1"),
]

_ADAPTER: TypeAdapter[Architecture] = TypeAdapter(Architecture)


def parse_architecture(values: object) -> Architecture:
    """The architecture of its JSON values. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(values)


def describe_layers(
    architecture: ArchitectureParameters, image_shape: tuple[int, int, int], classes: int
) -> Layers:
    """The layers of an architecture of stages, by geometry alone: no weights, no forward pass."""
    return _layers(architecture.model_dump_json(), image_shape, classes)


@cache
def _layers(architecture: str, image_shape: tuple[int, int, int], classes: int) -> Layers:
    parameters = _ADAPTER.validate_json(architecture)
    network = require_staged(build_structure(parameters, image_shape, classes))
    shape, shapes, placements = image_shape, {}, {}
    for name in network.layers:
        placements[name] = compute_placement(network.split_at(name)[0])
        shapes[name] = shape = output_shape(network.get_submodule(name), shape)
    return Layers(shapes, placements, network.convolutions, network.last_convolution)


__all__ = [
    "MODELS",
    "Architecture",
    "Layers",
    "Placement",
    "StagedArchitecture",
    "StagedNetwork",
    "describe_layers",
    "parse_architecture",
]
