"""Queries on runs. `run_lifecycle.py` changes their state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    delete,
    func,
    select,
    text,
)
from sqlalchemy.orm import Session

from service.errors import QueueFull, RunNotFound
from service.names import sanitize_name
from service.store import (
    events,
    experiment_rows,  # noqa: F401  a run refers to its experiment
)
from service.store.rows import EventRow, RunRow, TagRow
from service.store.run_status import HIDDEN_STATUSES, HiddenStatus, RunPhase, RunSource, RunStatus

MAX_IDS_PER_QUERY = 500
QUEUE_LOCK = 0x43414D51  # arbitrary, for pg_advisory_xact_lock


@dataclass(frozen=True)
class RunError:
    """Why a run failed: `type` is an identifier such as `disk_full`, `detail` a sentence."""

    type: str
    detail: str


@dataclass(frozen=True)
class Run:
    """A run at the time of the query."""

    id: int
    name: str
    tags: list[str]
    status: RunStatus
    epochs_done: int  # -1 before epoch 0
    epochs_total: int
    images_seen: int
    phase: RunPhase | None  # None unless it is running, or queued and starting
    spec: dict[str, Any]
    error: RunError | None
    cancel_requested: bool
    attempt: int
    lease_owner: str | None
    heartbeats: int
    lost_workers: int
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    origin: dict[str, Any] | None = None  # of an imported run: its id and attempt at its origin
    environment: dict[str, Any] | None = None  # at the start of training; None before
    environment_changes: Sequence[str] = ()  # since then, one phrase each
    last_event: int = 0  # the number of its newest event
    # The process that dispatches it while it is queued; None: the one that is elected.
    dispatcher: str | None = None
    notes: str = ""
    experiment_id: int | None = None

    @property
    def source(self) -> RunSource:
        """Where it is trained."""
        return RunSource(self.spec.get("source", RunSource.TRAINED))


class QueuedRun(NamedTuple):
    """A run in the queue."""

    id: int
    dispatcher: str | None  # as of `Run`
    phase: RunPhase | None  # STARTING if its worker process is starting


def create(
    session: Session,
    name: str,
    tags: list[str],
    spec: dict[str, Any],
    epochs: int,
    dispatcher: str | None = None,
) -> Run:
    """Insert a queued run. `dispatcher` is the process that dispatches it, by default the elected
    one.
    """
    row = RunRow(
        name=name,
        status=RunStatus.QUEUED,
        spec=spec,
        epochs_done=-1,
        epochs_total=epochs,
        images_seen=0,
        cancel_requested=False,
        attempt=0,
        dispatcher=dispatcher,
        heartbeats=0,
        lost_workers=0,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    session.add_all(TagRow(run_id=row.id, tag=tag, position=i) for i, tag in enumerate(tags))
    events.add_status(session, row.id, RunStatus.QUEUED)
    return run_from_row(row, tags)


def restore(session: Session, run: Run, status: RunStatus | HiddenStatus | None = None) -> int:
    """Insert a run that was trained elsewhere; the id it gets here. `run.id` is ignored.

    `status` replaces the run's own.
    """
    row = RunRow(
        name=run.name,
        status=status or run.status,
        spec=run.spec,
        error_type=run.error.type if run.error else None,
        error_detail=run.error.detail if run.error else None,
        epochs_done=run.epochs_done,
        epochs_total=run.epochs_total,
        images_seen=0,
        cancel_requested=False,
        attempt=0,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        origin=run.origin,
        environment=run.environment,
        environment_changes=list(run.environment_changes) or None,
        notes=run.notes or None,
    )
    session.add(row)
    session.flush()
    session.add_all(TagRow(run_id=row.id, tag=tag, position=i) for i, tag in enumerate(run.tags))
    session.flush()
    return row.id


def check_queue_limit(session: Session, limit: int) -> None:
    """Raises QueueFull if `limit` runs are queued, without those of experiments.

    Holds until the transaction ends.
    """
    if session.get_bind().dialect.name == "postgresql":
        # One transaction at a time, as on SQLite: two that count at once could both insert.
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": QUEUE_LOCK})
    queued_count = (
        select(func.count())
        .select_from(RunRow)
        .where(RunRow.status == RunStatus.QUEUED, RunRow.experiment_id.is_(None))
    )
    if (session.scalar(queued_count) or 0) >= limit:
        raise QueueFull(limit)


def get(session: Session, run_id: int) -> Run:
    """The run. Raises RunNotFound."""
    row = session.get(RunRow, run_id)
    if row is None or row.status in HIDDEN_STATUSES:
        raise RunNotFound(run_id)
    return run_from_row(row, tags_of_runs(session, [run_id]).get(run_id, []))


def get_for_update(session: Session, run_id: int) -> Run:
    """The run, its row locked until the transaction ends. Raises RunNotFound."""
    # SQLite ignores FOR UPDATE: it has one writer at a time.
    session.get(RunRow, run_id, with_for_update=True, populate_existing=True)
    return get(session, run_id)


def lock_shared(session: Session, run_id: int) -> bool:
    """Whether the run exists. If so, it cannot be deleted before the transaction ends."""
    query = select(RunRow.id).where(RunRow.id == run_id, RunRow.status.not_in(HIDDEN_STATUSES))
    return session.scalar(query.with_for_update(read=True, key_share=True)) is not None


class RunProgress(NamedTuple):
    """The fields of a run that change while it trains."""

    status: RunStatus
    epochs_done: int
    images_seen: int
    last_event: int
    phase: RunPhase | None

    @classmethod
    def from_run(cls, run: Run) -> "RunProgress":
        """The progress of a run that was read before."""
        return cls(run.status, run.epochs_done, run.images_seen, run.last_event, run.phase)


def get_progress(session: Session, run_id: int) -> RunProgress | None:
    """Progress of a run; None if there is no such run."""
    return get_progress_of_many(session, [run_id]).get(run_id)


def get_progress_of_many(session: Session, run_ids: Sequence[int]) -> dict[int, RunProgress]:
    """Progress of those runs that exist, by id. One query per MAX_IDS_PER_QUERY runs."""
    columns = (
        *(RunRow.id, RunRow.status, RunRow.epochs_done),
        *(RunRow.images_seen, RunRow.last_event, RunRow.phase),
    )
    return {
        row.id: RunProgress(
            RunStatus(row.status), *row[2:5], RunPhase(row.phase) if row.phase else None
        )
        for start in range(0, len(run_ids), MAX_IDS_PER_QUERY)
        for row in session.execute(
            select(*columns).where(
                RunRow.id.in_(run_ids[start : start + MAX_IDS_PER_QUERY]),
                RunRow.status.not_in(HIDDEN_STATUSES),
            )
        )
    }


def get_many(session: Session, run_ids: Collection[int]) -> dict[int, Run]:
    """Those of the runs that exist, by id. At most MAX_IDS_PER_QUERY ids."""
    query = select(RunRow).where(RunRow.id.in_(run_ids), RunRow.status.not_in(HIDDEN_STATUSES))
    rows = list(session.scalars(query))
    tags = tags_of_runs(session, [row.id for row in rows])
    return {row.id: run_from_row(row, tags.get(row.id, [])) for row in rows}


def list_newest(
    session: Session,
    *,
    limit: int,
    before_id: int | None = None,
    status: str | None = None,
    tag: str | None = None,
    search: str | None = None,
    experiment_id: int | None = None,
) -> list[Run]:
    """Runs with an id below `before_id`, newest first. `search` is a case-insensitive substring of
    the name.
    """
    query = select(RunRow).where(RunRow.status.not_in(HIDDEN_STATUSES))
    query = query.order_by(RunRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(RunRow.id < before_id)
    if status is not None:
        query = query.where(RunRow.status == status)
    if tag is not None:
        query = query.where(RunRow.id.in_(select(TagRow.run_id).where(TagRow.tag == tag)))
    if experiment_id is not None:
        query = query.where(RunRow.experiment_id == experiment_id)
    if search is not None:
        query = query.where(RunRow.name.icontains(search, autoescape=True))
    rows = list(session.scalars(query))
    tags = tags_of_runs(session, [row.id for row in rows])
    return [run_from_row(row, tags.get(row.id, [])) for row in rows]


def list_queue(session: Session) -> list[QueuedRun]:
    """The queued runs in the order in which they start: single runs before those of experiments,
    each in the order in which they were queued.
    """
    queued_at = (
        select(EventRow.created_at)
        .where(EventRow.run_id == RunRow.id, EventRow.number == RunRow.last_event)
        .scalar_subquery()
    )
    of_experiment = RunRow.experiment_id.is_not(None)
    columns = RunRow.id, RunRow.dispatcher, RunRow.phase
    query = select(*columns).where(RunRow.status == RunStatus.QUEUED)
    return [
        QueuedRun(row.id, row.dispatcher, RunPhase(row.phase) if row.phase else None)
        for row in session.execute(query.order_by(of_experiment, queued_at, RunRow.id))
    ]


def list_by_status(session: Session, status: RunStatus) -> list[Run]:
    """All runs of a status, oldest first, without their tags."""
    rows = session.scalars(select(RunRow).where(RunRow.status == status).order_by(RunRow.id))
    return [run_from_row(row, []) for row in rows]


def count_by_status(session: Session) -> dict[str, int]:
    """Number of runs by status, 0 included."""
    rows = session.execute(select(RunRow.status, func.count()).group_by(RunRow.status))
    counts = {row[0]: int(row[1]) for row in rows}
    return {status.value: counts.get(status, 0) for status in RunStatus}


def tags_of_runs(session: Session, run_ids: list[int]) -> dict[int, list[str]]:
    """Tags in order, by run."""
    tags: dict[int, list[str]] = {}
    query = select(TagRow.run_id, TagRow.tag).where(TagRow.run_id.in_(run_ids))
    for run_id, tag in session.execute(query.order_by(TagRow.position)):
        tags.setdefault(run_id, []).append(tag)
    return tags


def run_from_row(row: RunRow, tags: list[str]) -> Run:
    """The run of a row."""
    # Older versions accepted names that are refused now.
    name = sanitize_name(row.name)
    return Run(
        id=row.id,
        name=name,
        tags=tags,
        status=RunStatus(row.status),
        epochs_done=row.epochs_done,
        epochs_total=row.epochs_total,
        images_seen=row.images_seen,
        phase=RunPhase(row.phase) if row.phase else None,
        spec=row.spec if name == row.name else row.spec | {"name": name},
        error=RunError(row.error_type, row.error_detail or "") if row.error_type else None,
        cancel_requested=row.cancel_requested,
        attempt=row.attempt,
        lease_owner=row.lease_owner,
        dispatcher=row.dispatcher,
        heartbeats=row.heartbeats,
        lost_workers=row.lost_workers,
        heartbeat_at=row.heartbeat_at,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        origin=row.origin,
        environment=row.environment,
        environment_changes=row.environment_changes or [],
        last_event=row.last_event,
        notes=row.notes or "",
        experiment_id=row.experiment_id,
    )


def update_labels(session: Session, run_id: int, name: str, tags: list[str], notes: str) -> Run:
    """Replace name, tags and notes of a run, which the caller has locked; returns it."""
    row = session.get_one(RunRow, run_id)
    row.name, row.notes = name, notes or None
    row.spec = {**row.spec, "name": name, "tags": tags}
    session.execute(delete(TagRow).where(TagRow.run_id == run_id))
    session.expire(row, ["last_event"])
    session.add_all(TagRow(run_id=run_id, tag=tag, position=i) for i, tag in enumerate(tags))
    session.flush()
    return run_from_row(row, tags)
