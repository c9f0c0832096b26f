"""Judging maps: methods of a run's epoch against measures, each beside the random map."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.layers import resolve_layers
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import MethodSpec
from service.core.images import from_png
from service.core.measures.evaluation import MeasureResult, evaluate, get_measure
from service.core.measures.explainer import Explainer
from service.core.models import StagedNetwork
from service.core.spec import RunSpec
from service.errors import ImageNotFound, InvalidValue
from service.flows.etags import etag_of
from service.flows.recording import ENGINE_VERSION
from service.flows.viewing import Viewer
from service.store import images as stored_images
from service.store import runs
from service.store.epochs import Epoch
from service.store.images import StoredImage

MAX_IMAGES = 1000
EVALUATION_VERSION = 1
"""Part of every evaluation's etag: raised when the same request would give another answer."""


@dataclass(frozen=True)
class Judged:
    """What was asked for, and what came of it: a score for each method and measure."""

    run_id: int
    epoch: int
    images: list[str]  # their references
    seed: int
    scores: list[MeasureResult]


@dataclass(frozen=True)
class Evaluation:
    """An evaluation described; `etag` stands for everything that its scores depend on."""

    etag: str
    viewer: Viewer
    epoch: Epoch
    untrained: Epoch | None  # for measures that compare with epoch 0
    images: list[StoredImage]  # with labels
    explainers: list[Explainer]
    measures: Sequence[str]
    seed: int

    def judge(self) -> Judged:
        """Compute the scores. Raises CheckpointCorrupt."""
        network = self._network(self.epoch)
        untrained = None if self.untrained is None else self._network(self.untrained)
        pixels = [from_png(image.png) for image in self.images]
        labels = [image.label for image in self.images if image.label is not None]
        scores = evaluate(
            network, pixels, labels, self.explainers, self.measures, self.seed, untrained
        )
        references = [image.reference for image in self.images]
        return Judged(self.epoch.run_id, self.epoch.epoch, references, self.seed, scores)

    def _network(self, epoch: Epoch) -> StagedNetwork:
        return self.viewer.decoded(self.viewer.checkpoint(epoch), epoch)


def evaluation(
    viewer: Viewer,
    run_id: int,
    epoch: int,
    methods: Sequence[str],
    measures: Sequence[str],
    *,
    layer: str | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Methods of the run's network at that epoch against measures, to be judged.

    On the run's probes, or the first `count` test images of its dataset, each for its own label.
    Raises RunNotFound, EpochNotFound, ImageNotFound, UnknownName, InvalidValue, DatasetUnavailable.
    """
    if count is not None and not 1 <= count <= MAX_IMAGES:
        raise InvalidValue("images", f"must be 1 to {MAX_IMAGES}")
    spec, probes = _run(viewer, run_id)
    explainers = [_explainer(viewer, spec, text, layer) for text in methods]
    rules = [get_measure(name) for name in measures]
    at = viewer.epoch(run_id, epoch)
    untrained = viewer.epoch(run_id, 0) if any(rule.needs_untrained for rule in rules) else None
    images = probes if count is None else _first(viewer, spec, count)
    labelled = [image for image in images if image.label is not None]
    if not labelled:
        raise ImageNotFound("by default", "the run has no labelled probes")
    etag = etag_of(
        *("evaluation", EVALUATION_VERSION, ENGINE_VERSION, run_id, epoch),
        [one.checkpoint.sha256 for one in (at, untrained) if one],
        [(image.reference, image.label, image.sha256) for image in labelled],
        *(explainers, list(measures), seed),
    )
    return Evaluation(etag, viewer, at, untrained, labelled, explainers, measures, seed)


def judge(
    viewer: Viewer,
    run_id: int,
    epoch: int,
    methods: Sequence[str],
    measures: Sequence[str],
    *,
    count: int | None = None,
) -> Judged:
    """The same, judged at once. Raises CheckpointCorrupt, too."""
    return evaluation(viewer, run_id, epoch, methods, measures, count=count).judge()


def _run(viewer: Viewer, run_id: int) -> tuple[RunSpec, list[StoredImage]]:
    with viewer.store.read_session() as session:
        run = runs.get(session, run_id)
        return RunSpec.model_validate(run.spec), stored_images.list_probes(session, run_id)


def _explainer(viewer: Viewer, spec: RunSpec, text: str, layer: str | None) -> Explainer:
    """At the layer asked for, where the method takes one, else at its default."""
    explanation = MethodSpec.parse(text)
    classes = len(spec.source.class_names)
    if explanation.target and (explanation.target.contrast_class or 0) >= classes:
        raise InvalidValue("contrast_class", f"is a class index, 0 to {classes - 1}")
    method = explanation.method
    asked = None if method.attribution_level is AttributionLevel.INPUT else layer
    return Explainer(text, resolve_layers(method, asked, viewer.layers(spec)))


def _first(viewer: Viewer, spec: RunSpec, count: int) -> list[StoredImage]:
    there = spec.source.test_size
    if count > there:
        raise InvalidValue(
            "images", f"{spec.dataset} has {there} test images", {"minimum": 1, "maximum": there}
        )
    return viewer.test_images(spec.dataset, count)
