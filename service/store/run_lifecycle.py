"""Changes of a run's state. Each names the statuses it starts from, so that it happens once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, case, func, literal, select, update
from sqlalchemy.orm import Session

from service.store import events
from service.store.rows import RunRow, UtcDateTime
from service.store.run_status import (
    HIDDEN_STATUSES,
    TERMINAL_STATUSES,
    HiddenStatus,
    RunStatus,
)
from service.store.runs import RunError

NO_OWNER = ""
"""Owner of the lease of a run that is queued."""


@dataclass(frozen=True)
class Lease:
    """One worker's right to write for a run: what it writes under another's changes nothing.

    Nobody's lease is that of a run that waits, and was not taken since that attempt.
    """

    run_id: int
    attempt: int
    owner: str


def claim(session: Session, run_id: int, owner: str = NO_OWNER) -> Lease | None:
    """A worker takes a queued run; None if it is no longer there to be taken."""
    now = datetime.now(UTC)
    claimed = _change_status(
        session,
        run_id,
        (RunStatus.QUEUED,),
        RunStatus.RUNNING,
        attempt=RunRow.attempt + 1,
        lease_owner=owner,
        images_seen=0,
        started_at=func.coalesce(RunRow.started_at, _not_before(RunRow.created_at, now)),
        heartbeats=RunRow.heartbeats + 1,
        heartbeat_at=now,
    )
    if not claimed:
        return None
    attempt = session.scalar(select(RunRow.attempt).where(RunRow.id == run_id))
    return Lease(run_id, attempt or 0, owner)


def update_heartbeat(
    session: Session, run_id: int, images_seen: int | None = None, *, lease: Lease | None = None
) -> bool:
    """The worker is alive and has seen so many images of the epoch in work.

    False, and no change, if the run is not its any more.
    """
    seen = {} if images_seen is None else {"images_seen": images_seen}
    return _change(
        session,
        _running(run_id, lease),
        heartbeats=RunRow.heartbeats + 1,
        heartbeat_at=datetime.now(UTC),
        **seen,
    )


def record_environment(
    session: Session, lease: Lease, environment: dict[str, Any], changes: Sequence[str]
) -> bool:
    """What the run's training began in, and how that changed; False under another lease."""
    return _change(
        session,
        _running(lease.run_id, lease),
        environment=environment,
        environment_changes=list(changes) or None,
    )


def is_cancel_requested(session: Session, run_id: int) -> bool:
    """Whether somebody asked for the run's end; a run that was deleted counts as cancelled."""
    query = select(RunRow.cancel_requested).where(
        RunRow.id == run_id, RunRow.status.not_in(HIDDEN_STATUSES)
    )
    return session.scalar(query) is not False


def advance(session: Session, run_id: int, epoch: int, *, lease: Lease | None = None) -> bool:
    """The run has reached `epoch`; False if it is not running any more, or under another lease."""
    return _change(
        session,
        _running(run_id, lease),
        epochs_done=epoch,
        heartbeats=RunRow.heartbeats + 1,
        images_seen=0,
        heartbeat_at=datetime.now(UTC),
    )


def finish(
    session: Session,
    run_id: int,
    status: str,
    error: RunError | None = None,
    *,
    from_statuses: tuple[str, ...] = (RunStatus.RUNNING,),
    lease: Lease | None = None,
) -> bool:
    """End a run whose status is one of `since`; False, and no change, otherwise.

    With a lease, only the run that is under it.
    """
    now = datetime.now(UTC)
    return _change_status(
        session,
        run_id,
        from_statuses,
        status,
        error_type=error.type if error else None,
        error_detail=error.detail if error else None,
        lease=lease,
        lease_owner=None,
        # Whatever became of the clock: a run does not end before it began.
        finished_at=_not_before(func.coalesce(RunRow.started_at, RunRow.created_at), now),
    )


def requeue(session: Session, lease: Lease, *, lost_workers: int) -> bool:
    """Let a run whose worker is gone wait for another; False if it is under another lease."""
    return _change_status(
        session,
        lease.run_id,
        (RunStatus.QUEUED, RunStatus.RUNNING),
        RunStatus.QUEUED,
        lease=lease,
        lease_owner=None,
        images_seen=0,
        lost_workers=RunRow.lost_workers + lost_workers,
    )


def resume(session: Session, run_id: int, spec: dict[str, Any], epochs: int) -> bool:
    """Let a run that has ended wait for a worker again; False if it has not ended."""
    return _change_status(
        session,
        run_id,
        TERMINAL_STATUSES,
        RunStatus.QUEUED,
        spec=spec,
        epochs_total=epochs,
        images_seen=0,
        lost_workers=0,
        cancel_requested=False,
        error_type=None,
        error_detail=None,
        finished_at=None,
    )


def request_cancel(session: Session, run_id: int) -> bool:
    """Ask a running run to end; False if it is not running."""
    return _change(
        session, [RunRow.id == run_id, RunRow.status == RunStatus.RUNNING], cancel_requested=True
    )


def mark_deleted(session: Session, run_id: int) -> None:
    """Hide a run from every query for good; `deleted_runs.py` frees its rows and blobs."""
    _change(session, [RunRow.id == run_id], status=HiddenStatus.DELETING, lease_owner=None)


def _change_status(
    session: Session,
    run_id: int,
    since: tuple[str, ...],
    status: str,
    *,
    lease: Lease | None = None,
    **values: Any,
) -> bool:
    """A change of status, told in the same transaction; False, and no change, from another one."""
    where = [RunRow.id == run_id, RunRow.status.in_(since), *_under(lease)]
    changed = _change(session, where, status=status, **values)
    if changed:
        # After the update: it holds the run's row, so that events are numbered one at a time.
        events.add_status(session, run_id, status)
    return changed


def _running(run_id: int, lease: Lease | None) -> list[ColumnElement[bool]]:
    return [RunRow.id == run_id, RunRow.status == RunStatus.RUNNING, *_under(lease)]


def _under(lease: Lease | None) -> list[ColumnElement[bool]]:
    if lease is None:
        return []
    return [
        RunRow.attempt == lease.attempt,
        func.coalesce(RunRow.lease_owner, NO_OWNER) == lease.owner,
    ]


def _not_before(earliest: Any, now: datetime) -> ColumnElement[datetime]:
    moment = literal(now, UtcDateTime)
    return case((earliest > moment, earliest), else_=moment)


def _change(session: Session, where: list[ColumnElement[bool]], **values: Any) -> bool:
    changed = session.execute(
        update(RunRow).where(*where).values(**values).execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", changed).rowcount)
