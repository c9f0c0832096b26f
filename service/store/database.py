"""The engine and its sessions: short transactions, readers and writers told apart."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from service.errors import InvalidValue, SchemaMismatch, UnsupportedEncoding
from service.store import driver_errors, sqlite_file, sqlite_identity
from service.store.sqlite_file import Mode, database_file

BUSY_TIMEOUT_SECONDS = 15
IDLE_TIMEOUT_SECONDS = 60  # PostgreSQL's, of a transaction whose process was stopped
POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds until a host that does not answer counts as lost
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""libpq's: without them a query to a host that is gone waits for a quarter of an hour."""

# Older ones can lose a commit when two connections reset the write-ahead log at once.
WAL_IS_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)


def open_engine(database: Path | str) -> Engine:
    """An engine for a SQLite file or any SQLAlchemy URL. It creates no file.

    Raises InvalidValue for a URL that is none.
    """
    parsed = _url(database)
    if parsed.get_backend_name() == "postgresql":
        # The driver that we depend on, whatever the URL left open.
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        options = {
            name: POSTGRESQL_OPTIONS[name] for name in POSTGRESQL_OPTIONS.keys() - parsed.query
        }
        engine = create_engine(
            parsed,
            pool_pre_ping=True,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args={**options, "client_encoding": "UTF8"},
        )
        # Before SQLAlchemy's own first statements: in another encoding their answers are bytes.
        event.listen(engine, "connect", _check_encoding, insert=True)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    # Values of statements may be secrets: they stand in no error, and so in no log.
    engine = create_engine(
        parsed, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
    )
    if parsed.get_backend_name() == "sqlite":
        if (file := database_file(engine)) is not None:
            sqlite_identity.bind_connections(engine, file)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _url(database: Path | str) -> URL:
    if isinstance(database, Path):
        # A value of its own, never text that is parsed: a path may hold ? and %.
        return URL.create("sqlite", database=str(database.absolute()))
    try:
        parsed = make_url(database)
        parsed.get_dialect().import_dbapi()
    except (
        ArgumentError,
        ImportError,
        ValueError,
    ) as error:  # without what was set: it may hold a password
        raise InvalidValue(
            "CAMREEL_DATABASE_URL", "it is no URL of a database whose driver is installed"
        ) from error
    return parsed


def _check_encoding(connection: Any, _entry: ConnectionPoolEntry) -> None:
    for name in ("server_encoding", "client_encoding"):
        if (encoding := connection.info.parameter_status(name)) != "UTF8":
            raise UnsupportedEncoding(
                f"The PostgreSQL database has {name} {encoding}, and Camreel needs UTF8: "
                "create it with ENCODING 'UTF8' TEMPLATE template0."
            )


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

    Raises errors of ours alone, in place of SQLAlchemy's (`driver_errors.py`).
    """
    bound = engine.execution_options(camreel_writes=writes)
    with (
        driver_errors.translate_errors(engine),
        Session(bound, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def autocommit_connection(engine: Engine) -> Iterator[Connection]:
    """A connection on which each statement stands alone: some of SQLite's take no transaction."""
    with (
        driver_errors.translate_errors(engine),
        engine.execution_options(camreel_writes=None).connect() as connection,
    ):
        yield connection


@contextmanager
def read_only_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that reads, and leaves a SQLite file byte for byte as it is.

    To open it for writing would set its journal's mode, and might merge another program's log.
    """
    file = database_file(engine)
    with driver_errors.translate_errors(engine):
        if file is None or file.stat().st_size == 0:
            with engine.execution_options(camreel_writes=False).connect() as connection:
                yield connection
        else:
            with _read_only(file) as connection:
                yield connection


@contextmanager
def _read_only(file: Path) -> Iterator[Connection]:
    def connect(mode: Mode) -> sqlite3.Connection:
        return sqlite3.connect(
            sqlite_file.file_uri(file, mode), uri=True, timeout=BUSY_TIMEOUT_SECONDS
        )

    engine = create_engine("sqlite://", creator=lambda: connect("ro"), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1 FROM sqlite_master").all()
    except OperationalError as error:
        # A journal that a killed program left: whoever reads first has to roll it back.
        kind = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if kind not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        engine = create_engine("sqlite://", creator=lambda: connect("rw"), poolclass=NullPool)
    with engine.connect() as connection:
        # It takes a few bytes of anything for an empty database, and would write over them.
        if connection.exec_driver_sql("PRAGMA page_count").scalar() == 0:
            raise SchemaMismatch("The database's file is no SQLite database.")
        yield connection


@contextmanager
def schema_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in one transaction, for statements that change the schema."""
    with driver_errors.translate_errors(engine), engine.begin() as connection:
        yield connection
