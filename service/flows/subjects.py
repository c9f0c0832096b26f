"""What is looked at: a client's query, and the query resolved to one image and class of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.core.cams.maps import ClassMap
from service.core.cams.method import Cost
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.spec import RunSpec
from service.errors import InvalidValue, UnknownName
from service.flows.recording import ENGINE_VERSION, heatmap_of
from service.store.epochs import Epoch
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage
from service.store.runs import Run


@dataclass(frozen=True)
class Query:
    """What a client asks to look at; None takes the default of `api.md`."""

    run_id: int
    method: str
    image: str | None = None
    class_name: str | None = None
    layer: str | None = None
    target: str | None = None
    contrast_class: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def explained(cls, run_id: int, explanation: MethodSpec, layer: str | None = None) -> "Query":
        """By a whole explanation."""
        target = None if explanation.target is None else str(explanation.target)
        given = explanation.parameters.model_dump()
        name = explanation.method.name
        return cls(run_id, name, layer=layer, target=target, parameters=given)


@dataclass(frozen=True)
class Subject:
    """A query resolved: all that a map depends on, but for the epoch."""

    run: Run
    spec: RunSpec
    image: StoredImage
    class_index: int
    explanation: MethodSpec
    layer: str  # or several: `conv1,conv2`; or `input`
    predicted: bool = False  # each epoch has a class of its own, which `Viewer.at` fills in

    @property
    def method(self) -> str:
        """The explanation's text: the method, and target and parameters where not its defaults."""
        return str(self.explanation)

    def place_at(self, epoch: Epoch) -> tuple[int, str, int]:
        """What tells its map from those of the same method and layer."""
        return (epoch.epoch, self.image.reference, self.class_index)

    @property
    def alone(self) -> int | None:
        """The class to compute alone; None where all classes cost one forward pass."""
        cheap = self.explanation.method.cost is Cost.FORWARD
        return None if cheap else self.class_index

    @property
    def computed_with(self) -> tuple[str, ...]:
        """The methods that one pass computes together: the paper's two, or its own."""
        return PAPER_METHODS if self.method in PAPER_METHODS else (self.method,)

    def cache_key(self, epoch: Epoch) -> tuple[object, ...]:
        """What its maps at an epoch are kept by."""
        checkpoint, image = epoch.checkpoint.sha256, self.image.sha256
        return (checkpoint, image, self.layer, self.computed_with, self.alone)

    def identity(self, epoch: Epoch) -> tuple[object, ...]:
        """All that its map at an epoch, its image and their names depend on."""
        return (
            ENGINE_VERSION,
            epoch.epoch,
            epoch.checkpoint.sha256,
            self.image.sha256,
            *self.drawn_names,
            self.layer,
            self.method,
            self.class_index,
        )

    @property
    def drawn_names(self) -> tuple[object, ...]:
        """What pages name it by, besides its method and layer."""
        names = tuple(self.spec.source.class_names)
        return (self.run.id, self.spec.dataset, self.image.reference, self.image.label, names)

    def heatmap(self, epoch: Epoch, seen: ClassMap) -> Heatmap:
        """The row of its map at an epoch."""
        return heatmap_of(
            seen,
            run_id=self.run.id,
            epoch=epoch.epoch,
            checkpoint=epoch.checkpoint.sha256,
            dataset=self.spec.dataset,
            image=self.image.reference,
            layer=self.layer,
            method=self.method,
            class_index=self.class_index,
        )


def explanation_of(query: Query, names: Sequence[str]) -> MethodSpec:
    """The method with target and parameters. Raises InvalidValue and UnknownName."""
    target = query.target
    if query.contrast_class is not None:
        if target != "contrast":
            raise InvalidValue("contrast_class", "goes with target=contrast alone")
        target = f"contrast:{class_index_of('contrast_class', query.contrast_class, names)}"
    return MethodSpec.from_names(query.method, target, query.parameters)


def check_contrast(explanation: MethodSpec, class_index: int | None) -> None:
    """Raises InvalidValue where a contrast's class is the class explained."""
    if explanation.target is not None and explanation.target.contrast_class == class_index:
        raise InvalidValue("contrast_class", "is the class itself; a contrast needs another one")


def class_index_of(field_name: str, text: str, names: Sequence[str]) -> int:
    """A class by its name, or by its index if no class is named so."""
    if text in names:
        return list(names).index(text)
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(names):
        return int(text)
    raise UnknownName(field_name, text, names)
