"""The engine and its transactions, for reading or for writing."""

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

from service.errors import InvalidValue
from service.store import driver_errors, sqlite_file, sqlite_identity
from service.store.sqlite_file import Mode, database_file
from service.store_errors import SchemaMismatch, UnsupportedEncoding

BUSY_TIMEOUT_SECONDS = 15
IDLE_TIMEOUT_SECONDS = 60  # of a PostgreSQL transaction whose process hangs
POSTGRESQL_OPTIONS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds until an unresponsive host counts as lost
    "keepalives_idle": 30,  # seconds
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
"""libpq parameters. Without them a query to a lost host waits for 15 minutes."""

# Earlier versions can lose a commit when two connections reset the write-ahead log at once.
WAL_IS_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)


def open_engine(database: Path | str) -> Engine:
    """An engine for a SQLite file or a SQLAlchemy URL. It does not create the file.

    Raises InvalidValue for a malformed URL or a missing driver.
    """
    url = _url(database)
    if url.get_backend_name() == "postgresql":
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")  # the driver that is installed
        options = {name: POSTGRESQL_OPTIONS[name] for name in POSTGRESQL_OPTIONS.keys() - url.query}
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_recycle=1800,
            hide_parameters=True,
            connect_args={**options, "client_encoding": "UTF8"},
        )
        # Before SQLAlchemy's first statements: in another encoding their results are bytes.
        event.listen(engine, "connect", _check_encoding, insert=True)
        event.listen(engine, "connect", _prepare_postgresql)
        return engine
    # Parameters may be secrets: hide them in errors, and so in logs.
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
    )
    if url.get_backend_name() == "sqlite":
        if (file := database_file(engine)) is not None:
            sqlite_identity.bind_connections(engine, file)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _url(database: Path | str) -> URL:
    if isinstance(database, Path):
        # Not parsed as text: a path may contain ? and %.
        return URL.create("sqlite", database=str(database.absolute()))
    try:
        url = make_url(database)
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError, ValueError) as error:
        # Without the value: it may contain a password.
        raise InvalidValue(
            "CAMREEL_DATABASE_URL", "it is no URL of a database whose driver is installed"
        ) from error
    return url


def _check_encoding(connection: Any, _entry: ConnectionPoolEntry) -> None:
    for name in ("server_encoding", "client_encoding"):
        if (encoding := connection.info.parameter_status(name)) != "UTF8":
            raise UnsupportedEncoding(
                f"The PostgreSQL database has {name} {encoding}, and Camreel needs UTF8: "
                "create it with ENCODING 'UTF8' TEMPLATE template0."
            )


def _prepare_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # Without them, a transaction that waits for the row of a run whose worker hangs never ends.
    connection.execute(f"SET lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_SECONDS}s'")
    connection.commit()


def _prepare_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # Transactions are begun by `_begin_sqlite`: the driver would defer them.
    connection.isolation_level = None
    # First, and only for an empty database: on any other it would wait for the current writer and
    # have no effect.
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_mode={'WAL' if WAL_IS_SAFE else 'DELETE'}")
    connection.execute(f"PRAGMA synchronous={'FULL' if WAL_IS_SAFE else 'EXTRA'}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that starts to write fails at once, regardless of the busy timeout.
    writes = connection.get_execution_options().get("camreel_writes", True)
    if writes is None:
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def transaction(engine: Engine, *, writes: bool) -> Iterator[Session]:
    """A transaction that is committed at the end of the block, and rolled back if the block raises.

    Errors of SQLAlchemy and the driver are raised as Camreel's own (`driver_errors.py`).
    """
    configured = engine.execution_options(camreel_writes=writes)
    with (
        driver_errors.translate_errors(engine),
        Session(configured, expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def autocommit_connection(engine: Engine) -> Iterator[Connection]:
    """A connection in autocommit mode, for statements that SQLite refuses in transactions."""
    with (
        driver_errors.translate_errors(engine),
        engine.execution_options(camreel_writes=None).connect() as connection,
    ):
        yield connection


@contextmanager
def read_only_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that leaves every byte of a SQLite file unchanged.

    Opening the file for writing would set its journal mode, and could merge another program's log.
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
        # A killed program left a journal, and the first reader has to roll it back.
        primary_code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if primary_code not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        engine = create_engine("sqlite://", creator=lambda: connect("rw"), poolclass=NullPool)
    with engine.connect() as connection:
        # SQLite takes a file of a few bytes for an empty database, and would overwrite it.
        if connection.exec_driver_sql("PRAGMA page_count").scalar() == 0:
            raise SchemaMismatch("The database's file is no SQLite database.")
        yield connection


@contextmanager
def schema_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction, for statements that change the schema."""
    with driver_errors.translate_errors(engine), engine.begin() as connection:
        yield connection
