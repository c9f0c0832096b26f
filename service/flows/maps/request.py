"""What a map depends on: a client's query, and the query resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from service.core.cams.maps import ClassMap
from service.core.cams.method import Cost
from service.core.cams.methods import PAPER_METHODS, MethodSpec
from service.core.images import Pixels, from_png
from service.errors import InvalidValue, UnknownName
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.images import DatasetImage
from service.flows.recording import ENGINE_VERSION, heatmap_of
from service.store.epochs import Epoch
from service.store.heatmaps import Heatmap
from service.store.images import StoredImage


@dataclass(frozen=True)
class MapQuery:
    """The maps that a client requests, by names; None takes the default."""

    run_id: int
    method: str
    image: str | None = None
    class_name: str | None = None
    layer: str | None = None
    target: str | None = None
    contrast_class: str | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of_method(cls, run_id: int, method: MethodSpec, layer: str | None = None) -> "MapQuery":
        """A query for the maps of a parsed method."""
        return cls(
            run_id,
            method.method.name,
            layer=layer,
            target=None if method.target is None else str(method.target),
            parameters=method.parameters.model_dump(),
        )


@dataclass(frozen=True)
class MapSeries:
    """The maps of one image and class by one method at one layer, over the epochs of a run."""

    run_id: int
    run: ExplainedRun
    image: StoredImage
    class_index: int | None  # None: the class that each epoch's network predicts
    method: MethodSpec
    layer: str  # or several: `conv1,conv2`; or `input`

    @cached_property
    def method_text(self) -> str:
        """The method with its target and parameters where they are not the defaults."""
        return str(self.method)

    @cached_property
    def image_sha256(self) -> str:
        """SHA-256 of the image's PNG: in another data directory a reference is another image."""
        return self.image.sha256

    @cached_property
    def pixels(self) -> Pixels:
        """The image, decoded."""
        if isinstance(self.image, DatasetImage):
            return self.image.pixels
        return from_png(self.image.png)

    @property
    def is_forward_only(self) -> bool:
        """Whether one forward pass gives the maps of all classes."""
        return self.method.method.cost is Cost.FORWARD

    @cached_property
    def jointly_computed_methods(self) -> tuple[str, ...]:
        """The methods that one pass computes: the paper's two together, any other by itself."""
        return PAPER_METHODS if self.method_text in PAPER_METHODS else (self.method_text,)

    @cached_property
    def displayed_names(self) -> tuple[object, ...]:
        """The names that a rendered page may show besides its method and layer."""
        return (
            self.run_id,
            self.run.image_set,
            self.image.reference,
            self.image.label,
            self.run.class_names,
        )

    @property
    def class_label(self) -> str:
        """The class's name, or `predicted`."""
        if self.class_index is None:
            return "predicted"
        return self.run.class_names[self.class_index]

    def at_epoch(self, epoch: Epoch, class_index: int) -> "MapRequest":
        """The series' map at an epoch."""
        return MapRequest(self, epoch, class_index)


@dataclass(frozen=True)
class MapRequest:
    """Everything that one map depends on."""

    series: MapSeries
    epoch: Epoch
    class_index: int

    @property
    def row_key(self) -> tuple[int, str, int]:
        """Distinguishes the map's row from others of its run, method and layer."""
        return (self.epoch.epoch, self.series.image.reference, self.class_index)

    @property
    def separate_class(self) -> int | None:
        """The class that has to be computed by itself; None if one pass gives all classes."""
        return None if self.series.is_forward_only else self.class_index

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Key of the computed maps: hashes of the content, independent of run and names."""
        return (
            self.epoch.checkpoint.sha256,
            self.series.image_sha256,
            self.series.layer,
            self.series.jointly_computed_methods,
            self.separate_class,
        )

    @property
    def identity_parts(self) -> tuple[object, ...]:
        """Everything that the map, its image and the names shown with it depend on."""
        return (
            ENGINE_VERSION,
            self.epoch.epoch,
            self.epoch.checkpoint.sha256,
            self.series.image_sha256,
            *self.series.displayed_names,
            self.series.layer,
            self.series.method_text,
            self.class_index,
        )

    def heatmap(self, class_map: ClassMap) -> Heatmap:
        """The metadata row of the map."""
        return heatmap_of(
            class_map,
            run_id=self.series.run_id,
            epoch=self.epoch.epoch,
            checkpoint=self.epoch.checkpoint.sha256,
            dataset=self.series.run.image_set,
            image=self.series.image.reference,
            layer=self.series.layer,
            method=self.series.method_text,
            class_index=self.class_index,
        )


def parse_method(query: MapQuery, class_names: Sequence[str]) -> MethodSpec:
    """The query's method with target and parameters. Raises InvalidValue and UnknownName."""
    target = query.target
    if query.contrast_class is not None:
        if target != "contrast":
            raise InvalidValue("contrast_class", "goes with target=contrast alone")
        target = f"contrast:{find_class('contrast_class', query.contrast_class, class_names)}"
    return MethodSpec.from_names(query.method, target, query.parameters)


def contrast_class(query: MapQuery, class_names: Sequence[str]) -> int | None:
    """The class that the query contrasts others with. Raises InvalidValue and UnknownName."""
    target = parse_method(query, class_names).target
    return None if target is None else target.contrast_class


def check_contrast(method: MethodSpec, class_index: int) -> None:
    """Raises InvalidValue where a contrast is with the explained class itself."""
    if method.target is not None and method.target.contrast_class == class_index:
        raise InvalidValue("contrast_class", "is the class itself; a contrast needs another one")


def find_class(field_name: str, text: str, class_names: Sequence[str]) -> int:
    """Index of a class by its name, or by its number if no class has that name."""
    if text in class_names:
        return list(class_names).index(text)
    if text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(class_names):
        return int(text)
    raise UnknownName(field_name, text, class_names)
