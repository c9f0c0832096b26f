"""Class scores for an image over the epochs of a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.core.cams.methods import PAPER_METHODS
from service.flows.identity import identity_of
from service.flows.maps.deferred import Deferred, defer_over_epochs
from service.flows.maps.pipeline import MapPipeline
from service.flows.maps.request import MapQuery, MapSeries
from service.flows.maps.selection import EpochSelection
from service.flows.recording import ENGINE_VERSION
from service.store import predictions


@dataclass(frozen=True)
class Scores:
    """Softmax probabilities: one list per epoch, one number per class."""

    image: str
    label: int | None
    classes: Sequence[str]
    epochs: list[int]
    probabilities: list[list[float]]
    quarantined_epochs: list[int]  # requested epochs that are left out


def scores(pipeline: MapPipeline, run_id: int, image: str | None, epochs: str) -> Deferred[Scores]:
    """The scores for an image of the run's dataset, or its first probe, at selected epochs.

    Recorded scores are read, the others computed and recorded. Raises RunNotFound, EpochNotFound,
    ImageNotFound, InvalidValue, DatasetUnavailable.
    """
    # Any method and class would do: each pass gives the scores of all classes.
    query = MapQuery(run_id, PAPER_METHODS[0], image, class_name="0")
    series, selection = pipeline.resolver.resolve_series(query, epochs)

    def identify(usable_epochs: EpochSelection) -> str:
        return identity_of(
            *("scores", ENGINE_VERSION, series.image_sha256, *series.displayed_names),
            *(usable_epochs.checkpoints, usable_epochs.quarantined),
        )

    return defer_over_epochs(
        selection,
        identify,
        lambda requested: _read_or_compute(pipeline, series, requested),
        map_count=len(selection.epochs),
    )


def _read_or_compute(
    pipeline: MapPipeline, series: MapSeries, selection: EpochSelection
) -> tuple[Scores, EpochSelection]:
    with pipeline.store.read_session() as session:
        recorded = predictions.list_for_image(session, series.run_id, series.image.reference)
    by_epoch = {row.epoch: list(row.probabilities) for row in recorded}
    missing = [epoch for epoch in selection.epochs if epoch.epoch not in by_epoch]
    if missing:
        new_predictions, damage_reasons = pipeline.predict(series, missing)
        by_epoch |= {row.epoch: [float(p) for p in row.probabilities] for row in new_predictions}
        selection = selection.without(damage_reasons)
    value = Scores(
        series.image.reference,
        series.image.label,
        series.run.class_names,
        selection.numbers,
        [by_epoch[number] for number in selection.numbers],
        selection.quarantined,
    )
    return value, selection
