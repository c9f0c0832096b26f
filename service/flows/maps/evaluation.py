"""Evaluating maps: methods against faithfulness measures, each beside the random map."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.layers import resolve_layers
from service.core.cams.method import AttributionLevel
from service.core.cams.methods import MethodSpec
from service.core.images import from_png
from service.core.measures.evaluation import MeasureResult, evaluate
from service.core.measures.explainer import Explainer
from service.core.measures.measures import get_measure
from service.errors import ImageNotFound, InvalidValue
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, Result
from service.flows.maps.explained_run import ExplainedRun
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.resolve import require_usable
from service.flows.recording import ENGINE_VERSION
from service.store import map_inputs

MAX_IMAGES = 1000

EVALUATION_VERSION = 1
"""Part of every evaluation's identity: raised when the same request would give another answer."""


@dataclass(frozen=True)
class Evaluation:
    """A score for each method and measure."""

    run_id: int
    epoch: int
    images: list[str]  # references
    seed: int
    scores: list[MeasureResult]


def evaluation(
    pipeline: MapPipeline,
    run_id: int,
    epoch: int,
    methods: Sequence[str],
    measures: Sequence[str],
    *,
    layer: str | None = None,
    image_count: int | None = None,
    seed: int = 0,
) -> Deferred[Evaluation]:
    """Scores of methods for the network of an epoch.

    On the run's labeled probes, or the first `image_count` test images of its dataset, each for
    its own label. Raises RunNotFound, EpochNotFound, ImageNotFound, UnknownName, InvalidValue,
    DatasetUnavailable.
    """
    if image_count is not None and not 1 <= image_count <= MAX_IMAGES:
        raise InvalidValue("images", f"must be 1 to {MAX_IMAGES}")
    needs_untrained = any(get_measure(name).needs_untrained for name in measures)
    with pipeline.store.read_session() as session:
        run = map_inputs.get_run_at_epoch(session, run_id, epoch)
        untrained = (
            map_inputs.get_run_at_epoch(session, run_id, 0).epoch if needs_untrained else None
        )
        probes = map_inputs.list_probes(session, run_id)
        explained_run = pipeline.runs.describe(lambda: session, run_id, run.spec)
    explainers = [_explainer(explained_run, text, layer) for text in methods]
    for epoch_row in filter(None, (run.epoch, untrained)):
        require_usable(epoch_row)
    images = (
        probes
        if image_count is None
        else pipeline.images.first_test_images(explained_run, image_count)
    )
    labeled = [image for image in images if image.label is not None]
    if not labeled:
        raise ImageNotFound("by default", "the run has no labeled probes")
    references = [image.reference for image in labeled]
    identity = identity_of(
        *("evaluation", EVALUATION_VERSION, ENGINE_VERSION, run_id, epoch),
        [epoch_row.checkpoint.sha256 for epoch_row in (run.epoch, untrained) if epoch_row],
        [(image.reference, image.label, image.sha256) for image in labeled],
        *(explainers, list(measures), seed),
    )

    def make() -> Result[Evaluation]:
        scores = evaluate(
            pipeline.networks.load(run.epoch, explained_run.spec),
            [from_png(image.png) for image in labeled],
            [image.label for image in labeled if image.label is not None],
            explainers,
            measures,
            seed,
            None if untrained is None else pipeline.networks.load(untrained, explained_run.spec),
            explained_run.input_spec,
        )
        return Result(identity, Evaluation(run_id, epoch, references, seed, scores))

    return Deferred(identity, make)


def _explainer(run: ExplainedRun, text: str, layer: str | None) -> Explainer:
    """At the given layer where the method takes one, else at its default layer."""
    method = MethodSpec.parse(text)
    class_count = len(run.class_names)
    if method.target and (method.target.contrast_class or 0) >= class_count:
        raise InvalidValue("contrast_class", f"is a class index, 0 to {class_count - 1}")
    is_of_input = method.method.attribution_level is AttributionLevel.INPUT
    requested = None if is_of_input else layer
    return Explainer(text, resolve_layers(method.method, requested, run.layers))
