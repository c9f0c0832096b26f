"""The space that the database takes, and giving back what deleted rows leave."""

import sqlite3
from contextlib import closing

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from service.store import run_blobs
from service.store.database import WAL_IS_SAFE, outside_transactions

PAGES_AT_ONCE = 2_048
"""Given back in one step: 8 MiB, so that writers get their turn in between."""


def used_bytes(session: Session) -> int:
    """Bytes of the database that are in use; free pages of a SQLite file are not among them."""
    if session.get_bind().dialect.name == "postgresql":
        return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    if session.get_bind().dialect.name != "sqlite":
        return 0
    return (_pragma(session, "page_count") - _pragma(session, "freelist_count")) * _pragma(
        session, "page_size"
    )


def blob_bytes(session: Session) -> int:
    """Bytes of all blobs by their rows, wherever they are kept."""
    return sum(
        session.scalar(select(run_blobs.total(kind))) or 0 for kind in run_blobs.KINDS.values()
    )


def give_back(engine: Engine) -> None:
    """Give the pages that deleted rows left back to the disk, a few at a time.

    Best effort: a database that is busy gives them back after the next delete. One made before
    `auto_vacuum` was set keeps them until `compact`; PostgreSQL has a vacuum of its own.
    """
    if engine.dialect.name != "sqlite":
        return
    with outside_transactions(engine) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  for mypy
        try:
            with closing(driver.cursor()) as cursor:
                left = _number(cursor, "PRAGMA freelist_count")
                while left:
                    # As a script: of a statement without columns the driver takes one step, which
                    # here is one page.
                    cursor.executescript(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})")
                    before, left = left, _number(cursor, "PRAGMA freelist_count")
                    if left >= before:
                        break
                if WAL_IS_SAFE:
                    cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            return


def gives_back(session: Session) -> bool:
    """Whether the database was made so that deletes can give space back."""
    return session.get_bind().dialect.name != "sqlite" or _pragma(session, "auto_vacuum") == 2


def compact(engine: Engine) -> None:
    """Write the whole SQLite file anew without free pages; from then on deletes give space back.

    Takes as much free disk as the file is large, and the database for its time. Raises StoreBusy
    and StoreFull.
    """
    if engine.dialect.name != "sqlite":
        return
    with outside_transactions(engine) as connection:
        connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
        connection.exec_driver_sql("VACUUM")


def _pragma(session: Session, name: str) -> int:
    return int(session.scalar(text(f"PRAGMA {name}")) or 0)


def _number(cursor: sqlite3.Cursor, statement: str) -> int:
    return int(cursor.execute(statement).fetchall()[0][0])
