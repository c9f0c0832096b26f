"""Which layers a method takes, and where its maps lie."""

from collections.abc import Sequence

from service.core.cams.fusion import finest_layer
from service.core.cams.method import Method, Place
from service.core.models import Layers, Placement
from service.core.models.stages import INPUT
from service.errors import InvalidValue, UnknownName

MAX_LAYERS = 8


def resolve_layers(method: Method, asked: str | None, offered: Layers) -> str:
    """The layers' text for a map: as asked for, or the method's default.

    Raises UnknownName and InvalidValue, which name the field.
    """
    if asked is None:
        match method.place:
            case Place.INPUT:
                return INPUT
            case Place.LAYER:
                return offered.default
            case Place.LAYERS:
                return ",".join(offered.convolutions)
    names = [name.strip() for name in asked.split(",")]
    check_layers(method, names)
    for name in names:
        if name != INPUT and name not in offered.shapes:
            raise UnknownName("layer", name, offered.shapes)
    return ",".join(names)


def check_layers(method: Method, names: Sequence[str]) -> None:
    """Raises InvalidValue where a method cannot take those layers."""
    if method.place is Place.INPUT:
        if list(names) != [INPUT]:
            raise InvalidValue(
                "layer", f"{method.name} explains the image's pixels, so it takes no layer"
            )
        return
    if INPUT in names:
        raise InvalidValue("layer", f"{method.name} explains a layer, not the input")
    if len(set(names)) != len(names) or len(names) > MAX_LAYERS:
        raise InvalidValue("layer", f"takes 1 to {MAX_LAYERS} layers, each once")
    if method.place is Place.LAYERS and len(names) < 2:
        raise InvalidValue("layer", f"{method.name} combines layers, so it takes at least two")


def map_placement(layers: str, offered: Layers) -> Placement:
    """Where the positions of a map of those layers lie on the image."""
    return Placement(0, 1) if layers == INPUT else offered.placements[_finest(layers, offered)]


def map_size(layers: str, offered: Layers, image: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a map of those layers; `image` is the size of the image itself."""
    if layers == INPUT:
        return image
    _, height, width = offered.shapes[_finest(layers, offered)]
    return height, width


def _finest(layers: str, offered: Layers) -> str:
    names = layers.split(",")
    sizes = [(offered.shapes[name][1], offered.shapes[name][2]) for name in names]
    return names[finest_layer(sizes)]
