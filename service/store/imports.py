"""Runs that are being imported: hidden until all of their rows and blobs are stored."""

from dataclasses import replace
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from service.store import runs
from service.store.rows import RunRow
from service.store.run_status import HiddenStatus
from service.store.runs import Run


def create(session: Session, run: Run) -> int:
    """Store a run that was trained elsewhere, hidden; its id here."""
    return runs.restore(session, replace(run, status=HiddenStatus.IMPORTING))


def update_heartbeat(session: Session, run_id: int) -> bool:
    """The import goes on; False if it was taken for interrupted."""
    return _change(session, run_id, heartbeats=RunRow.heartbeats + 1)


def finish(session: Session, run_id: int, status: str) -> bool:
    """Show the run, with the status it ended with; False if it was taken for interrupted."""
    return _change(session, run_id, status=status, heartbeats=0)


def get_heartbeats(session: Session) -> dict[int, int]:
    """The heartbeat count of each run that is being imported, by id."""
    query = select(RunRow.id, RunRow.heartbeats).where(RunRow.status == HiddenStatus.IMPORTING)
    return {row.id: row.heartbeats for row in session.execute(query)}


def abandon(session: Session, run_id: int, heartbeats: int | None = None) -> bool:
    """Leave the run to the deletion, unless its heartbeat count is another one than given."""
    conditions = [] if heartbeats is None else [RunRow.heartbeats == heartbeats]
    return _change(session, run_id, *conditions, status=HiddenStatus.DELETING)


def _change(session: Session, run_id: int, *conditions: Any, **values: Any) -> bool:
    changed = (
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.status == HiddenStatus.IMPORTING, *conditions)
        .values(**values)
    )
    return cast("CursorResult[Any]", session.execute(changed)).rowcount > 0
