"""What the maps of a run depend on besides an epoch and an image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.core.input import InputSpec
from service.core.models import Layers, describe_layers
from service.core.models.network import INPUT
from service.core.recorded_spec import RecordedSpec, parse_spec
from service.core.spec import RunSpec
from service.flows.networks import Networks
from service.store import images, networks

NewSession = Callable[[], Any]


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


class ExplainedRuns:
    """Describes runs by their stored specs. Thread-safe."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks

    def describe(self, session: NewSession, run_id: int, spec: Mapping[str, Any]) -> ExplainedRun:
        """The run of a stored spec; the network of a program is read once."""
        parsed = parse_spec(spec)
        if isinstance(parsed, RecordedSpec):
            return self._describe_recorded(run_id, parsed)
        layers = self._program_layers(session, run_id) if parsed.has_program else None
        return ExplainedRun.of_spec(parsed, layers)

    def _describe_recorded(self, run_id: int, spec: RecordedSpec) -> ExplainedRun:
        network = self._networks.get(spec.network)
        return ExplainedRun(
            None,
            "a recorded training",
            tuple(spec.class_names),
            network.program.input_shape,
            images.dataset_of_run(run_id),
            spec.input,
            network.map_layers,
        )

    def _program_layers(self, session: NewSession, run_id: int) -> Layers:
        network_id = networks.get_id_of_run(session(), run_id)
        if network_id is None:  # before epoch 0
            return Layers({}, {}, (), INPUT)
        return self._networks.get(network_id).map_layers
