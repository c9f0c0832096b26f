"""Judging maps: methods of a run's epoch against measures, each beside the random map."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.explanation import Explanation
from service.core.cams.layers import resolve_layers
from service.core.cams.method import Place
from service.core.images import from_png
from service.core.measures.evaluation import Score, evaluate
from service.core.measures.explainer import Explainer
from service.core.measures.measures import MEASURES
from service.core.models import StagedNetwork
from service.core.spec import RunSpec
from service.errors import ImageNotFound, InvalidValue
from service.flows.viewing import Viewer
from service.store import images, runs
from service.store.images import StoredImage


@dataclass(frozen=True)
class Judged:
    """What was asked for, and what came of it: a score for each method and measure."""

    run_id: int
    epoch: int
    images: list[str]  # their references
    seed: int
    scores: list[Score]


def judge(
    viewer: Viewer,
    run_id: int,
    epoch: int,
    methods: Sequence[str],
    measures: Sequence[str],
    *,
    layer: str | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Judged:
    """Scores of methods by measures, of the run's network at that epoch.

    On the run's probes, or the first `count` test images of its dataset, each for its own label.
    Raises RunNotFound, EpochNotFound, ImageNotFound, UnknownName, InvalidValue, CheckpointCorrupt,
    DatasetUnavailable.
    """
    spec, probes = _run(viewer, run_id)
    explainers = [_explainer(viewer, spec, text, layer) for text in methods]
    network = _network(viewer, run_id, epoch)
    needed = any(MEASURES[name].needs_untrained for name in measures if name in MEASURES)
    untrained = _network(viewer, run_id, 0) if needed else None
    found = probes if count is None else _first(viewer, spec, count)
    chosen = [image for image in found if image.label is not None]
    labels = [image.label for image in chosen if image.label is not None]
    if not chosen:
        raise ImageNotFound("by default", "the run has no labelled probes")
    pixels = [from_png(image.png) for image in chosen]
    scores = evaluate(network, pixels, labels, explainers, measures, seed, untrained)
    return Judged(run_id, epoch, [image.reference for image in chosen], seed, scores)


def _run(viewer: Viewer, run_id: int) -> tuple[RunSpec, list[StoredImage]]:
    with viewer.store.reading() as session:
        run = runs.get(session, run_id)
        return RunSpec.model_validate(run.spec), images.probes(session, run_id)


def _explainer(viewer: Viewer, spec: RunSpec, text: str, layer: str | None) -> Explainer:
    """At the layer asked for, where the method takes one, else at its default."""
    explanation = Explanation.parse(text)
    classes = len(spec.source.class_names)
    if explanation.target and (explanation.target.against or 0) >= classes:
        raise InvalidValue("against", f"is a class index, 0 to {classes - 1}")
    method = explanation.method
    asked = None if method.place is Place.INPUT else layer
    return Explainer(text, resolve_layers(method, asked, viewer.layers(spec)))


def _network(viewer: Viewer, run_id: int, epoch: int) -> StagedNetwork:
    at = viewer.epoch(run_id, epoch)
    return viewer.decoded(viewer.checkpoint(at), at)


def _first(viewer: Viewer, spec: RunSpec, count: int) -> list[StoredImage]:
    there = spec.source.test_size
    if count > there:
        raise InvalidValue(
            "images", f"{spec.dataset} has {there} test images", {"minimum": 1, "maximum": there}
        )
    return [viewer.image(spec.dataset, f"test:{index}") for index in range(count)]
