"""Maps of a single image by any module, without a run."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from camreel.program import ExportError
from torch import Tensor, nn

from service.core.cams.gradient import PROPOSED
from service.core.cams.layers import map_placement, resolve_layers
from service.core.cams.maps import ClassMap, Floats, explain_images
from service.core.cams.methods import MethodSpec
from service.core.input import InputSpec
from service.core.models.placement import Placement
from service.core.models.program_network import ProgramClassifier, describe_program, export_once
from service.core.preprocessing import to_network_input
from service.core.resizing import PixelArray
from service.errors import InvalidValue

DEFAULT_METHOD = PROPOSED.name
DEFAULT_CLASS_COUNT = 2
"""How many of the most probable classes are explained, unless others are requested."""


@dataclass(frozen=True)
class PhotoExplanation:
    """The probabilities of an image's classes, and the maps of some of them."""

    pixels: Tensor  # uint8 (D, h, w), as the network sees them
    probabilities: Floats  # (C,), of softmax
    layer: str
    placement: Placement
    maps: dict[int, ClassMap]  # by class index, in the order of the request

    def top_classes(self, count: int) -> list[int]:
        """Indices of the most probable classes, the most probable first."""
        return most_probable(self.probabilities, count)


def explain_photo(
    module: nn.Module,
    pixels: PixelArray,
    input_spec: InputSpec,
    *,
    method: str = DEFAULT_METHOD,
    classes: Sequence[int] = (),
    layer: str | None = None,
) -> PhotoExplanation:
    """Probabilities and maps of an image uint8 (D, h, w), resized and cropped by `input_spec`.

    `module` is any classifier of images in evaluation mode: it is exported once, then explained as
    a program. `method` is the text of a `MethodSpec`; without classes, the two most probable are
    explained; without a layer, the method's default. Raises InvalidValue and UnknownName for
    `method`, `layer` and `class`, and InvalidValue for `network` if the module cannot be exported.
    """
    spec = MethodSpec.parse(method)
    network = _export(module, input_spec)
    layers = describe_program(network.program)
    layer = resolve_layers(spec.method, layer, layers)
    image = torch.from_numpy(pixels.copy())
    with torch.no_grad():
        outputs = network(to_network_input(image.unsqueeze(0).to(network.device), input_spec))
        probabilities: Floats = network.logits(outputs).softmax(1)[0].cpu().numpy()
    indices = list(classes) or most_probable(probabilities, DEFAULT_CLASS_COUNT)
    for index in indices:
        if not 0 <= index < len(probabilities):
            raise InvalidValue("class", f"is an index from 0 to {len(probabilities) - 1}")
        if spec.target is not None and spec.target.contrast_class == index:
            raise InvalidValue(
                "contrast_class", "is the class itself; a contrast needs another one"
            )
    maps = explain_images(network, [image], layer, [method], indices, input_spec=input_spec)
    return PhotoExplanation(
        image,
        probabilities,
        layer,
        map_placement(layer, layers),
        {index: maps.class_map(method, 0, index) for index in indices},
    )


def _export(module: nn.Module, input_spec: InputSpec) -> ProgramClassifier:
    """The module as a program. Raises InvalidValue."""
    try:
        export = export_once(module, input_spec.image_shape)
    except ExportError as error:
        raise InvalidValue("network", str(error)) from error
    return ProgramClassifier(export.program, export.tensors(module))


def most_probable(probabilities: Floats, count: int) -> list[int]:
    """Indices of the largest probabilities (C,), the largest first."""
    return [int(index) for index in (-probabilities).argsort(kind="stable")[:count]]
