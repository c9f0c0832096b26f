"""Summary figures of many runs, each with one query for all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from service.store.rows import EpochRow, HeatmapRow, ImageRow, ProbeRow, RunRow
from service.store.run_status import HIDDEN_STATUSES, is_visible


def sample_accuracies(
    session: Session, run_ids: Sequence[int], max_points: int
) -> dict[int, list[float]]:
    """Test accuracies by run: at most `max_points` evenly spaced epochs, the last included.

    Without recorded epochs that have none.
    """
    last_epoch = RunRow.epochs_done
    stride = case(
        (last_epoch < max_points, 1), else_=(last_epoch + max_points - 2) // (max_points - 1)
    )
    query = (
        select(EpochRow.run_id, EpochRow.test_accuracy)
        .join(RunRow, RunRow.id == EpochRow.run_id)
        .where(RunRow.status.not_in(HIDDEN_STATUSES))
        .where(EpochRow.run_id.in_(run_ids), (last_epoch - EpochRow.epoch) % stride == 0)
        .order_by(EpochRow.run_id, EpochRow.epoch)
    )
    accuracies: dict[int, list[float]] = {run_id: [] for run_id in run_ids}
    for run_id, accuracy in session.execute(query):
        if accuracy is not None:
            accuracies[run_id].append(accuracy)
    return accuracies


def count_blank_maps(
    session: Session, run_ids: Sequence[int], methods: Sequence[str]
) -> dict[tuple[int, str, str], tuple[int, int]]:
    """By (run, layer, method): the number of maps, and of those blank at the default threshold.

    Counted are the maps of the run's probes for their own labels, from epoch 1 on.
    """
    key = HeatmapRow.run_id, HeatmapRow.layer, HeatmapRow.method
    query = _blank_counts(run_ids, methods, key).where(HeatmapRow.epoch >= 1)
    return {
        (run_id, layer, method): (total, blank)
        for run_id, layer, method, total, blank in session.execute(query)
    }


def count_blank_maps_by_epoch(
    session: Session, run_ids: Sequence[int], methods: Sequence[str]
) -> dict[tuple[int, int, str, str], tuple[int, int]]:
    """By (run, epoch, layer, method): as `count_blank_maps`, epoch 0 included."""
    key = HeatmapRow.run_id, HeatmapRow.epoch, HeatmapRow.layer, HeatmapRow.method
    query = _blank_counts(run_ids, methods, key)
    return {
        (run_id, epoch, layer, method): (total, blank)
        for run_id, epoch, layer, method, total, blank in session.execute(query)
    }


def _blank_counts(
    run_ids: Sequence[int], methods: Sequence[str], key: Sequence[InstrumentedAttribute[Any]]
) -> Select[Any]:
    """The columns of the key, then the number of the probes' maps for their labels, and of those
    blank.
    """
    blank = func.sum(case((HeatmapRow.blank == "none", 0), else_=1))
    return (
        select(*key, func.count(), blank)
        .select_from(ProbeRow)
        .join(ImageRow, ImageRow.id == ProbeRow.image_id)
        .join(
            HeatmapRow,
            (HeatmapRow.run_id == ProbeRow.run_id)
            & (HeatmapRow.image == ImageRow.reference)
            & (HeatmapRow.class_index == ImageRow.label),
        )
        .where(is_visible(ProbeRow.run_id))
        .where(ProbeRow.run_id.in_(run_ids), HeatmapRow.method.in_(methods))
        .group_by(*key)
    )


class EpochSummary(NamedTuple):
    """The metrics of an epoch, as in `EpochMetrics`."""

    run_id: int
    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    per_class_accuracy: list[float]
    seconds: float | None


def list_epochs_of_runs(session: Session, run_ids: Sequence[int]) -> list[EpochSummary]:
    """All epochs of those runs, by run and epoch."""
    columns = (getattr(EpochRow, name) for name in EpochSummary._fields)
    query = (
        select(*columns)
        .where(EpochRow.run_id.in_(run_ids), is_visible(EpochRow.run_id))
        .order_by(EpochRow.run_id, EpochRow.epoch)
    )
    return [EpochSummary(*row) for row in session.execute(query)]


def mean_epoch_seconds(session: Session, run_ids: Sequence[int]) -> dict[int, float]:
    """Mean seconds from the recording of an epoch to that of the next, by run.

    Without runs that have recorded fewer than two epochs, and those that the clock makes negative.
    """
    query = (
        select(
            EpochRow.run_id,
            func.min(EpochRow.created_at),
            func.max(EpochRow.created_at),
            func.max(EpochRow.epoch),
        )
        .where(EpochRow.run_id.in_(run_ids), is_visible(EpochRow.run_id))
        .group_by(EpochRow.run_id)
        .having(func.max(EpochRow.epoch) > 0)
    )
    seconds = {
        run_id: (end - start).total_seconds() / last_epoch
        for run_id, start, end, last_epoch in session.execute(query)
    }
    return {run_id: value for run_id, value in seconds.items() if value > 0}
