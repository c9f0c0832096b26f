"""What is known of a network's layers without running it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.models.placement import Placement


@dataclass(frozen=True)
class Layers:
    """The layers of a network that have maps: their shapes (K, H, W) and placements."""

    shapes: dict[str, tuple[int, int, int]]
    placements: dict[str, Placement]
    combined_layers: tuple[str, ...]
    """Those of methods that combine several layers, unless others are requested."""
    default_layer: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Names of layers by their further names."""
