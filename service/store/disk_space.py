"""The space that the database takes, and returning what deleted rows leave to the disk."""

import sqlite3
from contextlib import closing

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from service.store import jobs, run_blobs
from service.store.database import WAL_IS_SAFE, autocommit_connection


def database_bytes(session: Session) -> int:
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
    of_runs = sum(
        session.scalar(select(run_blobs.total(kind))) or 0
        for kind in run_blobs.ROWS_BY_TYPE.values()
    )
    return of_runs + jobs.blob_bytes(session)


def incremental_vacuum(engine: Engine, pages: int) -> int:
    """Return up to `pages` free pages of a SQLite file to the disk; how many are left.

    0 too for a file whose `auto_vacuum` is off, which keeps them until `compact`, and for
    PostgreSQL, which has a vacuum of its own. Raises StoreBusy and StoreFull.
    """
    if engine.dialect.name != "sqlite":
        return 0
    with autocommit_connection(engine) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  for mypy
        with closing(driver.cursor()) as cursor:
            before = _number(cursor, "PRAGMA freelist_count")
            # As a script: of a statement without columns the driver takes one step, which here is
            # one page.
            cursor.executescript(f"PRAGMA incremental_vacuum({pages})")
            left = _number(cursor, "PRAGMA freelist_count")
    return left if left < before else 0


def truncate_wal(engine: Engine) -> None:
    """Shorten the write-ahead log of a SQLite file, where it has one. Raises StoreBusy."""
    if engine.dialect.name == "sqlite" and WAL_IS_SAFE:
        with autocommit_connection(engine) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def reclaims_space(session: Session) -> bool:
    """Whether the database was made so that deletes can give space back."""
    return session.get_bind().dialect.name != "sqlite" or _pragma(session, "auto_vacuum") == 2


def compact(engine: Engine) -> None:
    """Write the whole SQLite file anew without free pages; from then on deletes give space back.

    Takes as much free disk as the file is large, and the database for its time. Raises StoreBusy
    and StoreFull.
    """
    if engine.dialect.name != "sqlite":
        return
    with autocommit_connection(engine) as connection:
        connection.exec_driver_sql("PRAGMA auto_vacuum=INCREMENTAL")
        connection.exec_driver_sql("VACUUM")


def _pragma(session: Session, name: str) -> int:
    return int(session.scalar(text(f"PRAGMA {name}")) or 0)


def _number(cursor: sqlite3.Cursor, statement: str) -> int:
    return int(cursor.execute(statement).fetchall()[0][0])
