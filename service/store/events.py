"""Events of a run, numbered 1, 2, 3 ... so that a reader can continue after the last one it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, literal, select
from sqlalchemy.orm import Session

from service.store.rows import EventRow
from service.store.run_status import is_visible

EPOCH, STATUS = "epoch", "status"


@dataclass(frozen=True)
class Event:
    """A change of a run. `data` is {"epoch": 3} or {"status": "running"}, by `type`."""

    number: int
    type: str
    data: dict[str, Any]


def add_epoch(session: Session, run_id: int, epoch: int) -> None:
    """Add the event of a new epoch."""
    _add(session, run_id, EPOCH, {"epoch": epoch})


def add_status(session: Session, run_id: int, status: str) -> None:
    """Add the event of a new status."""
    _add(session, run_id, STATUS, {"status": status})


def restore(session: Session, run_id: int, events: Sequence[Event]) -> None:
    """Insert the events of a run that was trained elsewhere, with their numbers."""
    created_at = datetime.now(UTC)
    rows = [{"run_id": run_id, "created_at": created_at, **vars(event)} for event in events]
    if rows:
        session.execute(insert(EventRow), rows)


def list_after(session: Session, run_id: int, number: int, limit: int | None = None) -> list[Event]:
    """The next `limit` events after `number`, in order."""
    query = (
        select(EventRow.number, EventRow.type, EventRow.data)
        .where(EventRow.run_id == run_id, EventRow.number > number, is_visible(run_id))
        .order_by(EventRow.number)
        .limit(limit)
    )
    return [Event(row.number, row.type, row.data) for row in session.execute(query)]


def count_epochs(session: Session, run_id: int, number: int) -> int:
    """Number of epoch events up to and including event `number`."""
    query = (
        select(func.count())
        .select_from(EventRow)
        .where(EventRow.run_id == run_id, EventRow.number <= number, EventRow.type == EPOCH)
    )
    return session.scalar(query) or 0


def _add(session: Session, run_id: int, event_type: str, data: dict[str, Any]) -> None:
    next_number = select(
        literal(run_id),
        func.coalesce(func.max(EventRow.number), 0) + 1,
        literal(event_type),
        literal(data, EventRow.data.type),
        literal(datetime.now(UTC), EventRow.created_at.type),
    ).where(EventRow.run_id == run_id)
    columns = ["run_id", "number", "kind", "data", "created_at"]
    session.execute(insert(EventRow).from_select(columns, next_number))
