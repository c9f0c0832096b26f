"""Changes of a run's state. Each is an UPDATE with a condition on status and lease: of several
concurrent callers one succeeds, and the others get False.
"""

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
    RunPhase,
    RunStatus,
)
from service.store.runs import RunError

NO_OWNER = ""
"""Owner of the lease of a run that is queued."""


@dataclass(frozen=True)
class Lease:
    """A worker's exclusive right to write for a run. Writes under an outdated lease change nothing.

    The lease of a queued run has NO_OWNER and the number of the last attempt.
    """

    run_id: int
    attempt: int
    owner: str


@dataclass(frozen=True)
class EpochProgress:
    """What a worker does for an epoch, and how many of its training images it has processed."""

    epoch: int
    phase: RunPhase
    images_seen: int = 0


def claim(session: Session, run_id: int, owner: str = NO_OWNER) -> Lease | None:
    """Change a queued run to running, under a new lease; None if it is no longer queued."""
    claimed_at = datetime.now(UTC)
    is_claimed = _change_status(
        session,
        run_id,
        (RunStatus.QUEUED,),
        RunStatus.RUNNING,
        attempt=RunRow.attempt + 1,
        lease_owner=owner,
        images_seen=0,
        phase=RunPhase.STARTING,
        started_at=func.coalesce(RunRow.started_at, _later_of(RunRow.created_at, claimed_at)),
        heartbeats=RunRow.heartbeats + 1,
        heartbeat_at=claimed_at,
    )
    if not is_claimed:
        return None
    attempt = session.scalar(select(RunRow.attempt).where(RunRow.id == run_id))
    return Lease(run_id, attempt or 0, owner)


def update_heartbeat(
    session: Session,
    run_id: int,
    progress: EpochProgress | None = None,
    *,
    lease: Lease | None = None,
) -> bool:
    """Record that the worker is alive, and its progress unless that epoch is already recorded.

    False, and no change, if the run is not running under that lease.
    """
    return _change(
        session,
        _running(run_id, lease),
        heartbeats=RunRow.heartbeats + 1,
        heartbeat_at=datetime.now(UTC),
        **(_progress_values(progress) if progress else {}),
    )


def record_environment(
    session: Session, lease: Lease, environment: dict[str, Any], changes: Sequence[str]
) -> bool:
    """Store the environment of the training and its changes; False under another lease."""
    return _change(
        session,
        _running(lease.run_id, lease),
        environment=environment,
        environment_changes=list(changes) or None,
    )


def is_cancel_requested(session: Session, run_id: int) -> bool:
    """Whether cancellation was requested. True for a deleted run."""
    query = select(RunRow.cancel_requested).where(
        RunRow.id == run_id, RunRow.status.not_in(HIDDEN_STATUSES)
    )
    return session.scalar(query) is not False


def advance(session: Session, run_id: int, epoch: int, *, lease: Lease | None = None) -> bool:
    """Set `epochs_done` to `epoch`; False if the run is not running, or under another lease."""
    return _change(
        session,
        _running(run_id, lease),
        epochs_done=epoch,
        heartbeats=RunRow.heartbeats + 1,
        images_seen=0,
        phase=case((RunRow.epochs_total > epoch, RunPhase.TRAINING), else_=None),
        heartbeat_at=datetime.now(UTC),
    )


def finish(
    session: Session,
    run_id: int,
    status: RunStatus,
    error: RunError | None = None,
    *,
    from_statuses: tuple[RunStatus, ...] = (RunStatus.RUNNING,),
    lease: Lease | None = None,
) -> bool:
    """Set a terminal status; False, and no change, if the status is not in `from_statuses`.

    With a lease, only if the run is under it.
    """
    return _change_status(
        session,
        run_id,
        from_statuses,
        status,
        error_type=error.type if error else None,
        error_detail=error.detail if error else None,
        lease=lease,
        lease_owner=None,
        phase=None,
        # The clock may have been set back: a run never ends before it started.
        finished_at=_later_of(
            func.coalesce(RunRow.started_at, RunRow.created_at), datetime.now(UTC)
        ),
    )


def requeue(
    session: Session, lease: Lease, *, lost_workers: int, dispatcher: str | None = None
) -> bool:
    """Queue a run again whose worker was lost; False if it is under another lease.

    `dispatcher` is the process that dispatches it; None: the one that is elected.
    """
    return _change_status(
        session,
        lease.run_id,
        (RunStatus.QUEUED, RunStatus.RUNNING),
        RunStatus.QUEUED,
        lease=lease,
        lease_owner=None,
        dispatcher=dispatcher,
        images_seen=0,
        phase=None,
        lost_workers=RunRow.lost_workers + lost_workers,
    )


def resume(
    session: Session,
    run_id: int,
    spec: dict[str, Any],
    epochs: int,
    dispatcher: str | None = None,
) -> bool:
    """Queue a run again that has ended, with a new spec; False if it has not ended.

    `dispatcher` as of `requeue`.
    """
    return _change_status(
        session,
        run_id,
        TERMINAL_STATUSES,
        RunStatus.QUEUED,
        dispatcher=dispatcher,
        spec=spec,
        epochs_total=epochs,
        images_seen=0,
        lost_workers=0,
        cancel_requested=False,
        error_type=None,
        error_detail=None,
        finished_at=None,
    )


def set_starting(session: Session, run_id: int, is_starting: bool) -> bool:
    """Set or clear the phase `starting` of a queued run; False if it is not queued."""
    return _change(
        session,
        [RunRow.id == run_id, RunRow.status == RunStatus.QUEUED],
        phase=RunPhase.STARTING if is_starting else None,
    )


def unassign_queued(session: Session, dispatcher: str) -> None:
    """Leave the queued runs of a dispatcher to the process that is elected."""
    _change(
        session,
        [RunRow.status == RunStatus.QUEUED, RunRow.dispatcher == dispatcher],
        dispatcher=None,
        phase=None,
    )


def request_cancel(session: Session, run_id: int) -> bool:
    """Request the cancellation of a running run; False if it is not running."""
    return _change(
        session, [RunRow.id == run_id, RunRow.status == RunStatus.RUNNING], cancel_requested=True
    )


def mark_deleted(session: Session, run_id: int) -> None:
    """Hide a run from every query for good. `deleted_runs.py` deletes its rows and blobs."""
    _change(session, [RunRow.id == run_id], status=HiddenStatus.DELETING, lease_owner=None)


def _change_status(
    session: Session,
    run_id: int,
    from_statuses: tuple[RunStatus, ...],
    status: RunStatus,
    *,
    lease: Lease | None = None,
    **values: Any,
) -> bool:
    """Change the status and add its event; False, and no change, from any other status."""
    conditions = [RunRow.id == run_id, RunRow.status.in_(from_statuses), *_under(lease)]
    is_changed = _change(session, conditions, status=status, **values)
    if is_changed:
        # After the UPDATE, which locks the run's row: events get their numbers one at a time.
        events.add_status(session, run_id, status)
    return is_changed


def _running(run_id: int, lease: Lease | None) -> list[ColumnElement[bool]]:
    return [RunRow.id == run_id, RunRow.status == RunStatus.RUNNING, *_under(lease)]


def _under(lease: Lease | None) -> list[ColumnElement[bool]]:
    if lease is None:
        return []
    return [
        RunRow.attempt == lease.attempt,
        func.coalesce(RunRow.lease_owner, NO_OWNER) == lease.owner,
    ]


def _progress_values(progress: EpochProgress) -> dict[str, Any]:
    # The progress may have been read before the epoch was recorded, and be written after.
    is_current = RunRow.epochs_done == progress.epoch - 1
    return {
        "phase": case((is_current, progress.phase), else_=RunRow.phase),
        "images_seen": case((is_current, progress.images_seen), else_=RunRow.images_seen),
    }


def _later_of(earliest: Any, timestamp: datetime) -> ColumnElement[datetime]:
    moment = literal(timestamp, UtcDateTime)
    return case((earliest > moment, earliest), else_=moment)


def _change(session: Session, conditions: list[ColumnElement[bool]], **values: Any) -> bool:
    result = session.execute(
        update(RunRow)
        .where(*conditions)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", result).rowcount)
