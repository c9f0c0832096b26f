"""Readiness of the store: whether it accepts writes now, found out by writing."""

import tempfile
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from service.store import database, driver_errors, schema
from service.store.database import autocommit_connection, transaction
from service.store.store import Store
from service.store_errors import StoreFull

LOCK_TIMEOUT_SECONDS = 2
MIN_FREE_BYTES = 2**20
"""With less free disk space the next epoch cannot be stored, whatever CAMREEL_MIN_FREE_BYTES is."""

# A write without an effect, to a row that every database has: it fails for the same reasons as any
# other write.
WRITE_STATEMENT = "UPDATE alembic_version SET version_num = version_num"


def check(store: Store) -> None:
    """Write to the database and to local folders of blobs, and check schema, disk and quota.

    Raises StoreUnavailable, StoreFull or StoreDamaged.
    """
    _write(store.engine)
    schema.check(store)
    for folder in store.blobs.local_folders:
        _write_file(folder)
    free_bytes = store.quota.free_bytes()
    if free_bytes is not None and free_bytes < MIN_FREE_BYTES:
        raise StoreFull(f"The disk is full: {free_bytes:,} bytes are free.")
    with store.read_session() as session:
        store.quota.check(session)


def _write(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        with autocommit_connection(engine) as connection:
            _write_sqlite(connection)
        return
    with transaction(engine, writes=True) as session:
        session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        session.execute(text(f"SET LOCAL statement_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        session.execute(text(WRITE_STATEMENT))


def _write_sqlite(connection: Connection) -> None:
    _set_busy_timeout(connection, LOCK_TIMEOUT_SECONDS)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            connection.exec_driver_sql(WRITE_STATEMENT)
            connection.exec_driver_sql("COMMIT")
        except BaseException:
            # Some errors end the transaction themselves.
            driver = connection.connection.driver_connection
            if driver is not None and driver.in_transaction:
                connection.exec_driver_sql("ROLLBACK")
            raise
    finally:
        _set_busy_timeout(connection, database.BUSY_TIMEOUT_SECONDS)


def _set_busy_timeout(connection: Connection, seconds: float) -> None:
    connection.exec_driver_sql(f"PRAGMA busy_timeout={seconds * 1000:.0f}")


def _write_file(folder: Path) -> None:
    # The folder is created with the first blob.
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-ready-") as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        raise driver_errors.os_error_to_camreel_error(error) from error
