"""Metrics of the steps of recorded epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store import runs
from service.store.program_rows import StepMetricRow
from service.store.run_status import is_visible

Points = Sequence[tuple[int, float | None]]


@dataclass(frozen=True)
class EpochSteps:
    """The step metrics of an epoch: by name, pairs of step and value, None if not finite."""

    epoch: int
    metrics: dict[str, Points]


def add(session: Session, run_id: int, epoch: int, points_by_name: Mapping[str, Points]) -> None:
    """Insert the metrics of an epoch's steps."""
    session.add_all(
        StepMetricRow(run_id=run_id, epoch=epoch, name=name, points=[list(p) for p in points])
        for name, points in points_by_name.items()
    )
    session.flush()


def get(session: Session, run_id: int, epoch: int) -> dict[str, Points]:
    """The metrics of an epoch's steps, by name."""
    query = select(StepMetricRow.name, StepMetricRow.points).where(
        StepMetricRow.run_id == run_id, StepMetricRow.epoch == epoch
    )
    rows = session.execute(query.order_by(StepMetricRow.name))
    return {row.name: row.points for row in rows}


def list_epochs(
    session: Session, run_id: int, *, after: int = -1, limit: int | None = None
) -> list[EpochSteps]:
    """The next `limit` epochs that have step metrics, in order. Raises RunNotFound."""
    condition = (StepMetricRow.run_id == run_id, StepMetricRow.epoch > after, is_visible(run_id))
    numbers = select(StepMetricRow.epoch).where(*condition).distinct()
    page = list(session.scalars(numbers.order_by(StepMetricRow.epoch).limit(limit)))
    if not page:
        runs.get(session, run_id)
        return []
    query = (
        select(StepMetricRow.epoch, StepMetricRow.name, StepMetricRow.points)
        .where(*condition, StepMetricRow.epoch <= page[-1])
        .order_by(StepMetricRow.epoch, StepMetricRow.name)
    )
    metrics: dict[int, dict[str, Points]] = {epoch: {} for epoch in page}
    for epoch, name, points in session.execute(query):
        metrics[epoch][name] = points
    return [EpochSteps(epoch, by_name) for epoch, by_name in metrics.items()]
