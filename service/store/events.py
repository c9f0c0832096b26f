"""What happened to a run, numbered 1, 2, 3 ... so that a reader goes on where it left off."""

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
    """A change, by what it changed: {"epoch": 3}, or {"status": "running"}."""

    number: int
    type: str
    data: dict[str, Any]


def add_epoch(session: Session, run_id: int, epoch: int) -> None:
    """The run has a new epoch."""
    _tell(session, run_id, EPOCH, {"epoch": epoch})


def add_status(session: Session, run_id: int, status: str) -> None:
    """The run has a new status."""
    _tell(session, run_id, STATUS, {"status": status})


def restore(session: Session, run_id: int, events: Sequence[Event]) -> None:
    """The events of a run that was trained elsewhere, with their numbers."""
    now = datetime.now(UTC)
    rows = [{"run_id": run_id, "created_at": now, **vars(event)} for event in events]
    if rows:
        session.execute(insert(EventRow), rows)


def list_after(session: Session, run_id: int, number: int, limit: int | None = None) -> list[Event]:
    """The next `limit` events after that number, in order."""
    query = (
        select(EventRow.number, EventRow.type, EventRow.data)
        .where(EventRow.run_id == run_id, EventRow.number > number, is_visible(run_id))
        .order_by(EventRow.number)
        .limit(limit)
    )
    return [Event(row.number, row.type, row.data) for row in session.execute(query)]


def count_epochs(session: Session, run_id: int, number: int) -> int:
    """How many epochs were told up to that event."""
    query = (
        select(func.count())
        .select_from(EventRow)
        .where(EventRow.run_id == run_id, EventRow.number <= number, EventRow.type == EPOCH)
    )
    return session.scalar(query) or 0


def _tell(session: Session, run_id: int, kind: str, data: dict[str, Any]) -> None:
    next_number = select(
        literal(run_id),
        func.coalesce(func.max(EventRow.number), 0) + 1,
        literal(kind),
        literal(data, EventRow.data.type),
        literal(datetime.now(UTC), EventRow.created_at.type),
    ).where(EventRow.run_id == run_id)
    columns = ["run_id", "number", "kind", "data", "created_at"]
    session.execute(insert(EventRow).from_select(columns, next_number))
