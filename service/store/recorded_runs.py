"""Runs whose training happens elsewhere: a recorder creates them and writes under a lease.

As in `run_lifecycle.py`, each change is an UPDATE with a condition on status and lease. A recorder
that sends no heartbeats makes its run `lost`, which is not an end: its next write continues it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, select, update
from sqlalchemy.orm import Session

from service.store import events, networks
from service.store.rows import RunRow, TagRow
from service.store.run_lifecycle import Lease
from service.store.run_status import TERMINAL_STATUSES, RunStatus

ACTIVE_STATUSES = (RunStatus.RUNNING, RunStatus.LOST)


@dataclass(frozen=True)
class NewRecording:
    """What a recorded run is created with."""

    name: str
    tags: list[str]
    spec: Mapping[str, Any]
    network_id: str
    epochs_total: int


def create(session: Session, recording: NewRecording, owner: str) -> Lease:
    """Insert a running run; the lease of its recorder."""
    created_at = datetime.now(UTC)
    row = RunRow(
        name=recording.name,
        status=RunStatus.RUNNING,
        spec=dict(recording.spec),
        epochs_done=-1,
        epochs_total=recording.epochs_total,
        images_seen=0,
        cancel_requested=False,
        attempt=1,
        lease_owner=owner,
        heartbeats=1,
        heartbeat_at=created_at,
        lost_workers=0,
        created_at=created_at,
        started_at=created_at,
    )
    session.add(row)
    session.flush()
    session.add_all(
        TagRow(run_id=row.id, tag=tag, position=i) for i, tag in enumerate(recording.tags)
    )
    networks.set_of_run(session, row.id, recording.network_id)
    events.add_status(session, row.id, RunStatus.RUNNING)
    return Lease(row.id, 1, owner)


def get_lease(session: Session, run_id: int) -> Lease | None:
    """The lease of a recorded run; None if it is deleted."""
    query = select(RunRow.attempt, RunRow.lease_owner).where(RunRow.id == run_id)
    row = session.execute(query).one_or_none()
    return None if row is None else Lease(run_id, row.attempt, row.lease_owner or "")


def take_over(
    session: Session, run_id: int, owner: str, *, is_reopened: bool = False
) -> Lease | None:
    """A new lease of an active run, which makes the previous one stale; None if it has ended.

    With `is_reopened`, a run that has ended is running again.
    """
    if is_reopened and _reopen(session, run_id):
        events.add_status(session, run_id, RunStatus.RUNNING)
    statement = (
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.status.in_(ACTIVE_STATUSES))
        .values(
            attempt=RunRow.attempt + 1,
            lease_owner=owner,
            heartbeats=RunRow.heartbeats + 1,
            heartbeat_at=datetime.now(UTC),
        )
        .returning(RunRow.attempt)
        .execution_options(synchronize_session=False)
    )
    attempt = session.scalar(statement)
    return None if attempt is None else Lease(run_id, attempt, owner)


def renew(session: Session, lease: Lease) -> bool:
    """Record that the recorder is alive; a lost run is running again. False under another lease,
    or if the run has ended.
    """
    values = {"heartbeats": RunRow.heartbeats + 1, "heartbeat_at": datetime.now(UTC)}
    if _change(session, lease, RunStatus.RUNNING, **values):
        return True
    was_lost = _change(session, lease, RunStatus.LOST, status=RunStatus.RUNNING, **values)
    if was_lost:
        events.add_status(session, lease.run_id, RunStatus.RUNNING)
    return was_lost


def mark_lost(session: Session, lease: Lease, heartbeats: int) -> bool:
    """Mark a running run as lost; False if it has sent a heartbeat since, or has ended."""
    has_stopped = RunRow.heartbeats == heartbeats
    is_lost = _change(session, lease, RunStatus.RUNNING, has_stopped, status=RunStatus.LOST)
    if is_lost:
        events.add_status(session, lease.run_id, RunStatus.LOST)
    return is_lost


def advance(session: Session, run_id: int, epoch: int, epochs_total: int) -> None:
    """Set the number of the last epoch, and of the last one to expect."""
    session.execute(
        update(RunRow)
        .where(RunRow.id == run_id)
        .values(epochs_done=epoch, epochs_total=max(epoch, epochs_total))
        .execution_options(synchronize_session=False)
    )


def _reopen(session: Session, run_id: int) -> bool:
    """Set a run that has ended to running; False if it has not."""
    statement = (
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.status.in_(TERMINAL_STATUSES))
        .values(
            status=RunStatus.RUNNING,
            error_type=None,
            error_detail=None,
            finished_at=None,
            cancel_requested=False,
        )
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", session.execute(statement)).rowcount)


def _change(
    session: Session,
    lease: Lease,
    from_status: RunStatus,
    *conditions: ColumnElement[bool],
    **values: Any,
) -> bool:
    statement = (
        update(RunRow)
        .where(
            RunRow.id == lease.run_id,
            RunRow.status == from_status,
            RunRow.attempt == lease.attempt,
            RunRow.lease_owner == lease.owner,
            *conditions,
        )
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", session.execute(statement)).rowcount)
