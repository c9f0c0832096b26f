"""What the maps of a run depend on besides an epoch and an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.core.input import InputSpec
from service.core.models import Layers, describe_layers
from service.core.spec import RunSpec


@dataclass(frozen=True)
class ExplainedRun:
    """The classes, images and layers of a run, whether the service trains it or not."""

    spec: RunSpec | None  # None: trained elsewhere
    dataset_title: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]  # D, H, W, as the network sees them
    image_set: str  # name of the set of pixels that the network sees
    input_spec: InputSpec | None  # None: levels 0..1
    layers: Layers

    @classmethod
    def of_spec(cls, spec: RunSpec, layers: Layers | None = None) -> "ExplainedRun":
        """A run that the service trains; `layers` are those of its program, if it has one."""
        source = spec.source
        shape, class_names = source.image_shape, source.class_names
        return cls(
            spec,
            source.title,
            tuple(class_names),
            shape,
            spec.image_set,
            spec.input,
            layers or describe_layers(spec.architecture, shape, len(class_names)),
        )


def explain_run(spec: Mapping[str, Any]) -> ExplainedRun:
    """The run of a stored spec."""
    return ExplainedRun.of_spec(RunSpec.model_validate(spec))
