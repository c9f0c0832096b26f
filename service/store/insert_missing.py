"""INSERT ... ON CONFLICT DO NOTHING, on any database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.store.rows import Base


def insert_missing(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert `rows`, except those that would violate a unique constraint."""
    if not rows:
        return
    match session.get_bind().dialect.name:
        case "sqlite":
            session.execute(sqlite.insert(table).on_conflict_do_nothing(), rows)
        case "postgresql":
            session.execute(postgresql.insert(table).on_conflict_do_nothing(), rows)
        case _:
            for row in rows:
                try:
                    with session.begin_nested():
                        session.execute(insert(table), [row])
                except IntegrityError:
                    continue
