"""Elected processes: one row per role. Each change is conditional, so that one of several succeeds.

A heartbeat is a counter: each observer measures with its own clock how long it has not changed.
"""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, update
from sqlalchemy.orm import Session

from service.store.insert_missing import insert_missing
from service.store.rows import LeaderRow

DISPATCH = "dispatch"
"""The role of the process that dispatches queued runs and detects lost workers."""


@dataclass(frozen=True)
class Leader:
    """The process that holds a role; `owner` is None if the last one has resigned."""

    owner: str | None
    heartbeats: int


def get(session: Session, role: str) -> Leader | None:
    """The leader of a role; None if none was ever elected."""
    row = session.get(LeaderRow, role, populate_existing=True)
    return Leader(row.owner, row.heartbeats) if row else None


def elect(session: Session, role: str, candidate: str, previous: Leader | None) -> bool:
    """Make the candidate the leader; False, and no change, if `previous` is not the leader now."""
    if previous is None:
        insert_missing(session, LeaderRow, [{"role": role, "owner": candidate, "heartbeats": 1}])
        # Of concurrent candidates, the primary key admits one.
        return get(session, role) == Leader(candidate, 1)
    is_previous = [
        LeaderRow.owner.is_not_distinct_from(previous.owner),
        LeaderRow.heartbeats == previous.heartbeats,
    ]
    return _change(session, role, is_previous, owner=candidate)


def renew(session: Session, role: str, owner: str) -> bool:
    """Record a heartbeat of the leader; False if another process has been elected."""
    return _change(session, role, [LeaderRow.owner == owner])


def resign(session: Session, role: str, owner: str) -> bool:
    """Free the role, so that another process is elected at once; False if it is not the owner's."""
    return _change(session, role, [LeaderRow.owner == owner], owner=None)


def _change(
    session: Session, role: str, conditions: list[ColumnElement[bool]], **values: Any
) -> bool:
    change = (
        update(LeaderRow)
        .where(LeaderRow.role == role, *conditions)
        .values(heartbeats=LeaderRow.heartbeats + 1, **values)
        .execution_options(synchronize_session=False)
    )
    return bool(cast("CursorResult[Any]", session.execute(change)).rowcount)
