"""Queries on runs. A change of state names the state it starts from, so that it happens once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    func,
    select,
    text,
)
from sqlalchemy.orm import Session

from service.errors import QueueFull, RunNotFound
from service.names import sanitize_name
from service.store import events
from service.store.rows import RunRow, TagRow
from service.store.run_status import HIDDEN_STATUSES, RunStatus

MAX_IDS_PER_QUERY = 500
QUEUE_LOCK = 0x43414D51  # any number that no other program on the server uses


@dataclass(frozen=True)
class RunError:
    """Why a run failed: a word for programs, a sentence for people."""

    type: str
    detail: str


@dataclass(frozen=True)
class Run:
    """A run as it stands."""

    id: int
    name: str
    tags: list[str]
    status: str
    epochs_done: int  # -1 before epoch 0
    epochs_total: int
    images_seen: int
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
    origin: dict[str, Any] | None = None  # of an imported run: what it was where it was trained
    environment: dict[str, Any] | None = None  # that its training began in; None before it began
    environment_changes: Sequence[str] = ()  # since then, a phrase each
    last_event: int = 0  # the number of its newest event


def create(session: Session, name: str, tags: list[str], spec: dict[str, Any], epochs: int) -> Run:
    """A new run, queued."""
    row = RunRow(
        name=name,
        status=RunStatus.QUEUED,
        spec=spec,
        epochs_done=-1,
        epochs_total=epochs,
        images_seen=0,
        cancel_requested=False,
        attempt=0,
        heartbeats=0,
        lost_workers=0,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    session.add_all(TagRow(run_id=row.id, tag=tag, position=i) for i, tag in enumerate(tags))
    events.add_status(session, row.id, RunStatus.QUEUED)
    return _value(row, tags)


def restore(session: Session, run: Run, attempt: int = 0) -> int:
    """A run that was trained elsewhere, as it ended there; its id here. `run.id` is not used."""
    row = RunRow(
        name=run.name,
        status=run.status,
        spec=run.spec,
        error_type=run.error.type if run.error else None,
        error_detail=run.error.detail if run.error else None,
        epochs_done=run.epochs_done,
        epochs_total=run.epochs_total,
        images_seen=0,
        cancel_requested=False,
        attempt=attempt,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        origin=run.origin,
        environment=run.environment,
        environment_changes=list(run.environment_changes) or None,
    )
    session.add(row)
    session.flush()
    session.add_all(TagRow(run_id=row.id, tag=tag, position=i) for i, tag in enumerate(run.tags))
    session.flush()
    return row.id


def check_queue_limit(session: Session, limit: int) -> None:
    """Room for one more queued run, until the transaction ends. Raises QueueFull."""
    if session.get_bind().dialect.name == "postgresql":
        # One at a time, as SQLite's writers are: two that count at once would both find room.
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": QUEUE_LOCK})
    waiting = select(func.count()).select_from(RunRow).where(RunRow.status == RunStatus.QUEUED)
    if (session.scalar(waiting) or 0) >= limit:
        raise QueueFull(limit)


def get(session: Session, run_id: int) -> Run:
    """The run. Raises RunNotFound."""
    row = session.get(RunRow, run_id)
    if row is None or row.status in HIDDEN_STATUSES:
        raise RunNotFound(run_id)
    return _value(row, _tags(session, [run_id]).get(run_id, []))


def get_for_update(session: Session, run_id: int) -> Run:
    """The run, which only this transaction changes until it ends. Raises RunNotFound."""
    # On SQLite a writer is alone in any case.
    session.get(RunRow, run_id, with_for_update=True, populate_existing=True)
    return get(session, run_id)


def lock_shared(session: Session, run_id: int) -> bool:
    """Whether the run is there; if so, it is not deleted before the transaction ends."""
    query = select(RunRow.id).where(RunRow.id == run_id, RunRow.status.not_in(HIDDEN_STATUSES))
    return session.scalar(query.with_for_update(read=True, key_share=True)) is not None


class RunProgress(NamedTuple):
    """What of a run moves from moment to moment."""

    status: str
    epochs_done: int
    images_seen: int
    last_event: int

    @classmethod
    def from_run(cls, run: Run) -> "RunProgress":
        """As the run was read."""
        return cls(run.status, run.epochs_done, run.images_seen, run.last_event)


def get_progress(session: Session, run_id: int) -> RunProgress | None:
    """The run's, in one cheap query; None if there is no such run."""
    return get_progress_of_many(session, [run_id]).get(run_id)


def get_progress_of_many(session: Session, run_ids: Sequence[int]) -> dict[int, RunProgress]:
    """Of those that exist, by id, in one cheap query for each MAX_IDS_PER_QUERY."""
    columns = (RunRow.id, RunRow.status, RunRow.epochs_done, RunRow.images_seen, RunRow.last_event)
    return {
        row[0]: RunProgress(*row[1:])
        for start in range(0, len(run_ids), MAX_IDS_PER_QUERY)
        for row in session.execute(
            select(*columns).where(
                RunRow.id.in_(run_ids[start : start + MAX_IDS_PER_QUERY]),
                RunRow.status.not_in(HIDDEN_STATUSES),
            )
        )
    }


def get_many(session: Session, run_ids: Collection[int]) -> dict[int, Run]:
    """The runs that exist, at most MAX_IDS_PER_QUERY, by id."""
    query = select(RunRow).where(RunRow.id.in_(run_ids), RunRow.status.not_in(HIDDEN_STATUSES))
    rows = list(session.scalars(query))
    tags = _tags(session, [row.id for row in rows])
    return {row.id: _value(row, tags.get(row.id, [])) for row in rows}


def list_newest(
    session: Session,
    *,
    limit: int,
    before_id: int | None = None,
    status: str | None = None,
    tag: str | None = None,
    search: str | None = None,
) -> list[Run]:
    """Runs, newest first; `before` is the id that the previous page ended with.

    `search` is a part of the name, in whatever case.
    """
    query = select(RunRow).where(RunRow.status.not_in(HIDDEN_STATUSES))
    query = query.order_by(RunRow.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(RunRow.id < before_id)
    if status is not None:
        query = query.where(RunRow.status == status)
    if tag is not None:
        query = query.where(RunRow.id.in_(select(TagRow.run_id).where(TagRow.tag == tag)))
    if search is not None:
        query = query.where(RunRow.name.icontains(search, autoescape=True))
    rows = list(session.scalars(query))
    tags = _tags(session, [row.id for row in rows])
    return [_value(row, tags.get(row.id, [])) for row in rows]


def list_by_status(session: Session, status: str) -> list[Run]:
    """All runs of a status, oldest first."""
    rows = session.scalars(select(RunRow).where(RunRow.status == status).order_by(RunRow.id))
    return [_value(row, []) for row in rows]


def count_by_status(session: Session) -> dict[str, int]:
    """How many runs there are of each status."""
    counted = session.execute(select(RunRow.status, func.count()).group_by(RunRow.status))
    found = {row[0]: row[1] for row in counted}
    return {status: found.get(status, 0) for status in RunStatus}


def _tags(session: Session, run_ids: list[int]) -> dict[int, list[str]]:
    tags: dict[int, list[str]] = {}
    query = select(TagRow.run_id, TagRow.tag).where(TagRow.run_id.in_(run_ids))
    for run_id, tag in session.execute(query.order_by(TagRow.position)):
        tags.setdefault(run_id, []).append(tag)
    return tags


def _value(row: RunRow, tags: list[str]) -> Run:
    # Older versions stored names that are refused now: their runs are shown all the same.
    name = sanitize_name(row.name)
    return Run(
        id=row.id,
        name=name,
        tags=tags,
        status=row.status,
        epochs_done=row.epochs_done,
        epochs_total=row.epochs_total,
        images_seen=row.images_seen,
        spec=row.spec if name == row.name else row.spec | {"name": name},
        error=RunError(row.error_type, row.error_detail or "") if row.error_type else None,
        cancel_requested=row.cancel_requested,
        attempt=row.attempt,
        lease_owner=row.lease_owner,
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
    )
