"""The engine and its sessions: short transactions, readers and writers told apart."""

import errno
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import SchemaMismatch, StoreBusy, StoreDamaged, StoreFull

BUSY_TIMEOUT_SECONDS = 15
IDLE_TIMEOUT_SECONDS = 60  # PostgreSQL's, of a transaction whose process was stopped
# Older ones can lose a commit when two connections reset the write-ahead log at once.
WAL_IS_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)


def open_engine(url: str) -> Engine:
    """An engine for any SQLAlchemy URL; makes the folder of a SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        # The driver that we depend on, whatever the URL left open.
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=True, pool_recycle=1800)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # Without them, who waits for the row of a run whose worker was stopped waits for ever.
    connection.execute(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'")
    connection.commit()


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # We begin transactions ourselves: the driver's own way defers them.
    connection.isolation_level = None
    # Before all else, and only for a database that has nothing in it yet: on another one it would
    # wait for whoever writes, and change nothing.
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_mode={'WAL' if WAL_IS_SAFE else 'DELETE'}")
    connection.execute(f"PRAGMA synchronous={'FULL' if WAL_IS_SAFE else 'EXTRA'}")


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer in mid-transaction fails at once, whatever the busy timeout.
    writes = connection.get_execution_options().get("camreel_writes", True)
    if writes is None:
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Session]:
    """One transaction: committed at the end of the block, rolled back when it raises.

    Raises StoreBusy and StoreFull in place of the driver's errors of that meaning.
    """
    bound = engine.execution_options(camreel_writes=writes)
    try:
        with Session(bound, expire_on_commit=False) as session, session.begin():
            yield session
    except DBAPIError as error:
        raise _translated(error) from error
    except PoolTimeout as error:
        raise StoreBusy("All connections to the database are in use.") from error


@contextmanager
def outside_transactions(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement stands alone: some of SQLite's take no transaction."""
    try:
        with engine.execution_options(camreel_writes=None).connect() as connection:
            yield connection
    except DBAPIError as error:
        raise _translated(error) from error


def _translated(error: DBAPIError) -> Exception:
    text = str(error.orig)
    full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    if full or re.search(r"disk is full|No space left", text):
        return StoreFull("The disk that holds the database is full.")
    if isinstance(error.orig, OSError) and error.orig.errno == errno.ENOSPC:
        return StoreFull("The disk that holds the database is full.")
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaMismatch("The database's file is no SQLite database.")
    if code is not None and code & 0xFF == sqlite3.SQLITE_CORRUPT:
        return StoreDamaged("The database's file is damaged: see `camreel doctor`.")
    if code is not None:
        # The low byte is the kind, the rest says more of it.
        busy = code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    else:
        busy = isinstance(error, OperationalError) or error.connection_invalidated
    return StoreBusy("The database did not answer in time.") if busy else error
