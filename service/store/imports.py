"""Runs that are being imported: hidden until all their rows and blobs are stored."""

from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from service.store import runs
from service.store.rows import RunRow
from service.store.run_status import HiddenStatus, RunStatus
from service.store.runs import Run


def create(session: Session, run: Run) -> int:
    """Insert a run that was trained elsewhere, hidden; the id it gets here."""
    return runs.restore(session, run, HiddenStatus.IMPORTING)


def update_heartbeat(session: Session, run_id: int) -> bool:
    """Record that the import makes progress; False if it was abandoned as interrupted."""
    return _change(session, run_id, heartbeats=RunRow.heartbeats + 1)


def finish(session: Session, run_id: int, status: RunStatus) -> bool:
    """Make the run visible with its terminal status; False if it was abandoned as interrupted."""
    return _change(session, run_id, status=status, heartbeats=0)


def get_heartbeats(session: Session) -> dict[int, int]:
    """Heartbeat count of each run that is being imported, by id."""
    query = select(RunRow.id, RunRow.heartbeats).where(RunRow.status == HiddenStatus.IMPORTING)
    return {row.id: row.heartbeats for row in session.execute(query)}


def abandon(session: Session, run_id: int, heartbeats: int | None = None) -> bool:
    """Mark the run as deleted; False if its heartbeat count is not `heartbeats`, where given."""
    conditions = [] if heartbeats is None else [RunRow.heartbeats == heartbeats]
    return _change(session, run_id, *conditions, status=HiddenStatus.DELETING)


def _change(session: Session, run_id: int, *conditions: Any, **values: Any) -> bool:
    statement = (
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.status == HiddenStatus.IMPORTING, *conditions)
        .values(**values)
    )
    return cast("CursorResult[Any]", session.execute(statement)).rowcount > 0
