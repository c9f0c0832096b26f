"""Queries on experiments. Their runs are rows of `runs`, which name their experiment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from service.errors import ExperimentNotFound
from service.store import events
from service.store.experiment_rows import ExperimentRow
from service.store.rows import EventRow, RunRow, TagRow
from service.store.run_status import HIDDEN_STATUSES, HiddenStatus, RunStatus
from service.store.runs import Run, run_from_row, tags_of_runs


@dataclass(frozen=True)
class Experiment:
    """An experiment as it is stored. `plan` is that of `core/experiments/plan.py` as JSON."""

    id: int
    name: str
    notes: str
    plan: dict[str, Any]
    created_at: datetime


class NewRun(NamedTuple):
    """A run to insert, at its position in the plan."""

    position: int
    name: str
    tags: list[str]
    spec: dict[str, Any]
    epochs: int


@dataclass(frozen=True)
class RunTotals:
    """Numbers of an experiment's runs by status, and of their epochs."""

    by_status: dict[RunStatus, int]  # without statuses that no run has
    epochs_done: int
    epochs_total: int

    @property
    def total(self) -> int:
        """Number of runs."""
        return sum(self.by_status.values())


def create(session: Session, name: str, notes: str, plan: dict[str, Any]) -> Experiment:
    """Insert an experiment without runs."""
    row = ExperimentRow(name=name, notes=notes, plan=plan, created_at=datetime.now(UTC))
    session.add(row)
    session.flush()
    return _value(row)


def add_runs(
    session: Session, experiment_id: int, new_runs: Sequence[NewRun], dispatcher: str | None
) -> list[int]:
    """Insert queued runs, in a few statements for all of them; their ids in order.

    `dispatcher` as of `runs.create`.
    """
    created_at = datetime.now(UTC)
    rows = [
        RunRow(
            name=run.name,
            experiment_id=experiment_id,
            experiment_position=run.position,
            status=RunStatus.QUEUED,
            spec=run.spec,
            epochs_done=-1,
            epochs_total=run.epochs,
            images_seen=0,
            cancel_requested=False,
            attempt=0,
            dispatcher=dispatcher,
            created_at=created_at,
        )
        for run in new_runs
    ]
    session.add_all(rows)
    session.flush()
    session.add_all(
        TagRow(run_id=row.id, tag=tag, position=position)
        for row, run in zip(rows, new_runs, strict=True)
        for position, tag in enumerate(run.tags)
    )
    session.add_all(
        EventRow(
            run_id=row.id,
            number=1,
            type=events.STATUS,
            data={"status": RunStatus.QUEUED},
            created_at=created_at,
        )
        for row in rows
    )
    session.flush()
    return [row.id for row in rows]


def get(session: Session, experiment_id: int) -> Experiment:
    """The experiment. Raises ExperimentNotFound."""
    row = session.get(ExperimentRow, experiment_id)
    if row is None:
        raise ExperimentNotFound(experiment_id)
    return _value(row)


def get_many(session: Session, experiment_ids: Collection[int]) -> dict[int, Experiment]:
    """Those of the experiments that exist, by id."""
    query = select(ExperimentRow).where(ExperimentRow.id.in_(experiment_ids))
    return {row.id: _value(row) for row in session.scalars(query)}


def get_for_update(session: Session, experiment_id: int) -> Experiment:
    """The experiment, its row locked until the transaction ends. Raises ExperimentNotFound."""
    # SQLite ignores FOR UPDATE: it has one writer at a time.
    session.get(ExperimentRow, experiment_id, with_for_update=True, populate_existing=True)
    return get(session, experiment_id)


def update_plan(
    session: Session, experiment_id: int, name: str, notes: str, plan: dict[str, Any]
) -> None:
    """Replace name, notes and plan."""
    session.execute(
        update(ExperimentRow)
        .where(ExperimentRow.id == experiment_id)
        .values(name=name, notes=notes, plan=plan)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def list_newest(
    session: Session, *, limit: int | None, before_id: int | None = None
) -> list[Experiment]:
    """Experiments with an id below `before_id`, newest first; all without a limit."""
    query = select(ExperimentRow).order_by(ExperimentRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(ExperimentRow.id < before_id)
    return [_value(row) for row in session.scalars(query)]


def list_runs(
    session: Session,
    experiment_id: int,
    *,
    after_position: int | None = None,
    limit: int | None = None,
    statuses: Collection[RunStatus] | None = None,
) -> list[tuple[int, Run]]:
    """Runs with their positions, in order of position."""
    query = select(RunRow).where(
        RunRow.experiment_id == experiment_id, RunRow.status.not_in(HIDDEN_STATUSES)
    )
    if after_position is not None:
        query = query.where(RunRow.experiment_position > after_position)
    if statuses is not None:
        query = query.where(RunRow.status.in_(statuses))
    rows = list(session.scalars(query.order_by(RunRow.experiment_position).limit(limit)))
    tags = tags_of_runs(session, [row.id for row in rows])
    return [(row.experiment_position or 0, run_from_row(row, tags.get(row.id, []))) for row in rows]


def count_runs(session: Session, experiment_ids: Collection[int]) -> dict[int, RunTotals]:
    """Totals of the runs of each experiment, by its id, in one query."""
    epochs_done = func.sum(func.greatest(RunRow.epochs_done, 0))
    if session.get_bind().dialect.name == "sqlite":
        epochs_done = func.sum(func.max(RunRow.epochs_done, 0))  # of two values: the larger one
    query = (
        select(
            RunRow.experiment_id,
            RunRow.status,
            func.count(),
            epochs_done,
            func.sum(RunRow.epochs_total),
        )
        .where(RunRow.experiment_id.in_(experiment_ids), RunRow.status.not_in(HIDDEN_STATUSES))
        .group_by(RunRow.experiment_id, RunRow.status)
    )
    totals = {experiment_id: RunTotals({}, 0, 0) for experiment_id in experiment_ids}
    for experiment_id, status, count, done_total, epochs_total in session.execute(query):
        total = totals[experiment_id]
        totals[experiment_id] = RunTotals(
            {**total.by_status, RunStatus(status): count},
            total.epochs_done + done_total,
            total.epochs_total + epochs_total,
        )
    return totals


def delete_with_runs(session: Session, experiment_id: int) -> None:
    """Delete an experiment and hide its runs for good, as `run_lifecycle.mark_deleted` does."""
    session.execute(
        update(RunRow)
        .where(RunRow.experiment_id == experiment_id, RunRow.status.not_in(HIDDEN_STATUSES))
        .values(status=HiddenStatus.DELETING, lease_owner=None)
        .execution_options(synchronize_session=False)
    )
    # Also of runs that were deleted before, and whose rows are not freed yet.
    session.execute(
        update(RunRow)
        .where(RunRow.experiment_id == experiment_id)
        .values(experiment_id=None, experiment_position=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(ExperimentRow).where(ExperimentRow.id == experiment_id))


def _value(row: ExperimentRow) -> Experiment:
    return Experiment(row.id, row.name, row.notes, row.plan, row.created_at)
