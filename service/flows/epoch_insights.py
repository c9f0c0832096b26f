"""Insights of epochs: observed by the worker, and stored with the epoch."""

from service.core.datasets.dataset import Dataset
from service.core.insight.epoch_insight import EpochInsight, EpochObserver
from service.core.models.program_network import explained_network
from service.core.spec import RunSpec
from service.core.training import EpochResult
from service.store import epoch_insights
from service.store.epoch_insights import StoredInsight
from service.store.store import Store


def to_stored(run_id: int, insight: EpochInsight) -> StoredInsight:
    """The row of an insight."""
    presentations = insight.presentations
    return StoredInsight(
        run_id,
        insight.epoch,
        insight.to_document(),
        insight.mistakes.to_bytes(),
        None if presentations is None else presentations.to_bytes(),
        insight.class_means_bytes(),
    )


def from_stored(row: StoredInsight) -> EpochInsight:
    """The insight of a row. Raises KeyError, TypeError or ValueError for a damaged one."""
    return EpochInsight.from_stored(
        row.epoch,
        row.document,
        row.mistakes,
        row.presentations,
        row.class_means,
    )


class InsightRecorder:
    """Makes the rows of a run's insights in its worker, continuing those of earlier epochs."""

    def __init__(self, store: Store, run_id: int, spec: RunSpec, data: Dataset) -> None:
        self._run_id = run_id
        self._image_shape = spec.source.image_shape
        self._observer = EpochObserver(spec, data)
        with store.read_session() as session:
            for row in epoch_insights.list_all(session, run_id):
                self._observer.resume(from_stored(row))

    def observe(self, result: EpochResult) -> StoredInsight:
        """The row of an epoch's insight. Raises as `explained_network`."""
        was_training = result.network.training
        result.network.eval()
        try:
            insight = self._observer.observe(
                result, lambda: explained_network(result.network, self._image_shape)
            )
        finally:
            result.network.train(was_training)
        return to_stored(self._run_id, insight)
