"""The layers that a method takes, and the placement of its maps."""

from collections.abc import Sequence

from service.core.cams.fusion import finest_layer
from service.core.cams.method import AttributionLevel, Method
from service.core.models import Layers, Placement
from service.core.models.network import INPUT
from service.errors import InvalidValue, UnknownName

MAX_LAYERS = 8


def resolve_layers(method: Method, requested: str | None, available: Layers) -> str:
    """The layers of a map as text, `conv2` or `conv1,conv2`: the request, or the default.

    Raises UnknownName and InvalidValue, which name the field.
    """
    if requested is None:
        match method.attribution_level:
            case AttributionLevel.INPUT:
                return INPUT
            case AttributionLevel.LAYER:
                return available.default_layer
            case AttributionLevel.MULTI_LAYER:
                return ",".join(available.combined_layers)
    names = [available.aliases.get(name, name) for name in map(str.strip, requested.split(","))]
    check_layers(method, names)
    for name in names:
        if name != INPUT and name not in available.shapes:
            raise UnknownName("layer", name, available.shapes)
    return ",".join(names)


def check_layers(method: Method, names: Sequence[str]) -> None:
    """Raises InvalidValue where a method cannot take those layers."""
    if method.attribution_level is AttributionLevel.INPUT:
        if list(names) != [INPUT]:
            raise InvalidValue(
                "layer", f"{method.name} explains the image's pixels, so it takes no layer"
            )
        return
    if INPUT in names:
        raise InvalidValue("layer", f"{method.name} explains a layer, not the input")
    if len(set(names)) != len(names) or len(names) > MAX_LAYERS:
        raise InvalidValue("layer", f"takes 1 to {MAX_LAYERS} layers, each once")
    if method.attribution_level is AttributionLevel.MULTI_LAYER and len(names) < 2:
        raise InvalidValue("layer", f"{method.name} combines layers, so it takes at least two")


def map_placement(layers: str, available: Layers) -> Placement:
    """Where the positions of a map of those layers lie on the image."""
    return Placement(0, 1) if layers == INPUT else available.placements[_finest(layers, available)]


def map_size(layers: str, available: Layers, image: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a map of those layers; `image` is the size of the image itself."""
    if layers == INPUT:
        return image
    _, height, width = available.shapes[_finest(layers, available)]
    return height, width


def _finest(layers: str, available: Layers) -> str:
    names = layers.split(",")
    sizes = [(available.shapes[name][1], available.shapes[name][2]) for name in names]
    return names[finest_layer(sizes)]
