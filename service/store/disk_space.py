"""Disk space of the database and of blobs, and returning free pages to the file system."""

import sqlite3
from contextlib import closing

from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from service.store import jobs, run_blobs, tensors
from service.store.database import WAL_IS_SAFE, autocommit_connection


def database_bytes(session: Session) -> int:
    """Bytes in use by the database. Free pages of a SQLite file do not count."""
    if session.get_bind().dialect.name == "postgresql":
        return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    if session.get_bind().dialect.name != "sqlite":
        return 0
    return (_pragma(session, "page_count") - _pragma(session, "freelist_count")) * _pragma(
        session, "page_size"
    )


def blob_bytes(session: Session) -> int:
    """Total bytes of all blobs, by the rows that name them."""
    of_runs = sum(
        session.scalar(select(run_blobs.total(row_type))) or 0
        for row_type in run_blobs.ROWS_BY_TYPE.values()
    )
    return of_runs + jobs.blob_bytes(session) + tensors.blob_bytes(session)


def incremental_vacuum(engine: Engine, pages: int) -> int:
    """Return up to `pages` free pages of a SQLite file to the file system; how many remain free.

    Also 0 for a file whose `auto_vacuum` is off, which keeps them until `compact`, and for
    PostgreSQL, which vacuums itself. Raises StoreBusy and StoreFull.
    """
    if engine.dialect.name != "sqlite":
        return 0
    with autocommit_connection(engine) as connection:
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101  for mypy
        with closing(driver.cursor()) as cursor:
            free_before = _number(cursor, "PRAGMA freelist_count")
            # As a script: for a statement without columns the driver takes a single step, which
            # frees a single page.
            cursor.executescript(f"PRAGMA incremental_vacuum({pages})")
            free_after = _number(cursor, "PRAGMA freelist_count")
    return free_after if free_after < free_before else 0


def truncate_wal(engine: Engine) -> None:
    """Truncate the write-ahead log of a SQLite file, if it has one. Raises StoreBusy."""
    if engine.dialect.name == "sqlite" and WAL_IS_SAFE:
        with autocommit_connection(engine) as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def reclaims_space(session: Session) -> bool:
    """Whether space of deleted rows can be returned without rewriting the database."""
    return session.get_bind().dialect.name != "sqlite" or _pragma(session, "auto_vacuum") == 2


def compact(engine: Engine) -> None:
    """Rewrite a SQLite file without free pages and enable `incremental_vacuum`.

    Needs as much free disk space as the file is large, and locks the database until it is done.
    Raises StoreBusy and StoreFull.
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
