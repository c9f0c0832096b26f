"""Translates errors of SQLAlchemy and its drivers to Camreel's: the store raises no others.

The tables are keyed by PostgreSQL's SQLSTATE (appendix A of its documentation, "PostgreSQL Error
Codes") and by SQLite's result codes (https://www.sqlite.org/rescode.html).
"""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from service.errors import CamreelError
from service.store.sqlite_file import database_file
from service.store_errors import (
    SchemaMismatch,
    StatementRefused,
    StoreAccessDenied,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreInputOutput,
    StoreMissing,
    StoreReadOnly,
    StoreUnavailable,
)

MESSAGES: dict[type[CamreelError], str] = {
    StoreBusy: "The database did not answer in time.",
    StoreReadOnly: "The database accepts no writes: it is read-only.",
    StoreMissing: "The database no longer exists at its address.",
    StoreAccessDenied: "The database denied access to its user.",
    StoreInputOutput: "The database's disk failed to read or write.",
    StoreFull: "The disk that holds the database is full.",
    StoreDamaged: "The database's file is damaged: see `camreel doctor`.",
    SchemaMismatch: "The database lacks a table or column of this program's schema.",
    StatementRefused: "The database refused a statement; the log says why.",
}

SQLSTATES: dict[str, type[CamreelError]] = {
    "08": StoreBusy,  # connection exceptions
    "25006": StoreReadOnly,
    "25P03": StoreBusy,  # idle in a transaction for too long
    "28": StoreAccessDenied,
    "3D000": StoreMissing,
    "3F000": SchemaMismatch,
    "40": StoreBusy,  # serialization failures, deadlocks
    "42501": StoreAccessDenied,
    "42703": SchemaMismatch,  # undefined column
    "42704": SchemaMismatch,  # undefined object
    "42804": SchemaMismatch,  # a column of another type
    "42883": SchemaMismatch,  # an operator that a column's type does not have
    "42P01": SchemaMismatch,  # undefined table
    "42P10": SchemaMismatch,  # no unique constraint for ON CONFLICT
    "53": StoreBusy,  # too many connections, out of memory
    "53100": StoreFull,
    "55": StoreBusy,  # lock not available, object in use
    "57": StoreBusy,  # shut down or starting, cancelled by a timeout
    "57P04": StoreMissing,  # dropped
    "58": StoreInputOutput,
    "XX001": StoreDamaged,
    "XX002": StoreDamaged,
}
"""Errors by SQLSTATE or a prefix of it; the longest matching prefix applies."""

SQLITE_CODES: dict[int, type[CamreelError]] = {
    sqlite3.SQLITE_AUTH: StoreAccessDenied,
    sqlite3.SQLITE_BUSY: StoreBusy,
    sqlite3.SQLITE_CORRUPT: StoreDamaged,
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_INTERRUPT: StoreBusy,
    sqlite3.SQLITE_IOERR: StoreInputOutput,
    sqlite3.SQLITE_IOERR_NOMEM: StoreBusy,
    sqlite3.SQLITE_LOCKED: StoreBusy,
    sqlite3.SQLITE_NOMEM: StoreBusy,
    sqlite3.SQLITE_PERM: StoreAccessDenied,
    sqlite3.SQLITE_PROTOCOL: StoreBusy,
    sqlite3.SQLITE_READONLY: StoreReadOnly,
    sqlite3.SQLITE_READONLY_DBMOVED: StoreMissing,
    sqlite3.SQLITE_SCHEMA: StoreBusy,
}
"""Errors by extended result code, or by its low byte, the primary result code."""

# For failed connections psycopg reports no code.
TEXTS: dict[str, type[CamreelError]] = {
    r"disk is full|No space left": StoreFull,
    r"no such (table|column)|has no column named|ON CONFLICT clause does not match": SchemaMismatch,
    r"This connection is closed": StoreBusy,  # the file was replaced while it was reopened
    r"database \S+ does not exist": StoreMissing,
    r"authentication failed|no password supplied|role \S+ does not exist|pg_hba": StoreAccessDenied,
}

ERRNOS: dict[int, type[CamreelError]] = {
    errno.ENOSPC: StoreFull,
    errno.EDQUOT: StoreFull,
    errno.EROFS: StoreReadOnly,
    errno.EACCES: StoreReadOnly,
    errno.EPERM: StoreReadOnly,
    errno.ENOENT: StoreMissing,
}
"""Errors of writes to a file or folder of the store; any other is StoreInputOutput."""

log = structlog.get_logger()


@contextmanager
def translate_errors(engine: Engine) -> Iterator[None]:
    """Translate errors of SQLAlchemy and of SQLite's driver that the block raises.

    After an error that may be specific to the connection, all pooled connections are discarded: one
    that was opened while the server or the file was read-only remains read-only.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        translated = to_camreel_error(error, database_file(engine))
        if isinstance(translated, StoreUnavailable) and not isinstance(translated, StoreBusy):
            engine.dispose()
        raise translated from error


def to_camreel_error(error: Exception, file: Path | None = None) -> CamreelError:
    """The Camreel error for an error of SQLAlchemy or a driver.

    `file` is the SQLite database's, to find out why it cannot be opened.
    """
    if isinstance(error, PoolTimeout):
        return StoreBusy("All connections to the database are in use.")
    original: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaMismatch("The database's file is no SQLite database.")
    error_type = (
        _by_errno(original)
        or _by_sqlite_code(code, file)
        or _by_sqlstate(getattr(original, "sqlstate", None))
        or _by_text(str(original))
        or _by_connection(error, code)
    )
    if error_type is None:
        error_type = StatementRefused
        log.error("statement refused", exc_info=error)
    return error_type(MESSAGES[error_type])


def os_error_to_camreel_error(error: OSError) -> CamreelError:
    """The Camreel error for a failed write to a file or folder of the store."""
    error_type = ERRNOS.get(error.errno or 0, StoreInputOutput)
    messages: dict[type[CamreelError], str] = {
        StoreFull: "The disk that holds the blobs is full.",
        StoreReadOnly: "The folder of blobs accepts no writes.",
        StoreMissing: "The folder of blobs no longer exists.",
        StoreInputOutput: "The disk that holds the blobs failed to read or write.",
    }
    return error_type(messages[error_type])


def _by_errno(error: BaseException) -> type[CamreelError] | None:
    return ERRNOS.get(error.errno or 0) if isinstance(error, OSError) else None


def _by_sqlite_code(code: int | None, file: Path | None) -> type[CamreelError] | None:
    if code is None:
        return None
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return _by_unopenable_file(file)
    return SQLITE_CODES.get(code) or SQLITE_CODES.get(code & 0xFF)


def _by_unopenable_file(file: Path | None) -> type[CamreelError]:
    """Why SQLite cannot open the file, or the journal beside it."""
    if file is None:
        return StoreInputOutput
    if not file.exists():
        return StoreMissing
    # On a read-only file system, root has no write access either.
    return StoreBusy if os.access(file.parent, os.W_OK) else StoreReadOnly


def _by_sqlstate(state: str | None) -> type[CamreelError] | None:
    if state is None:
        return None
    prefixes = (state[:length] for length in range(len(state), 1, -1))
    return next((SQLSTATES[prefix] for prefix in prefixes if prefix in SQLSTATES), None)


def _by_text(text: str) -> type[CamreelError] | None:
    return next(
        (error_type for pattern, error_type in TEXTS.items() if re.search(pattern, text)), None
    )


def _by_connection(error: Exception, sqlite_code: int | None) -> type[CamreelError] | None:
    is_invalidated = isinstance(error, DBAPIError) and error.connection_invalidated
    # An OperationalError without a code is about the connection to a server. SQLite's always have
    # one.
    has_no_code = isinstance(error, OperationalError) and sqlite_code is None
    return StoreBusy if is_invalidated or has_no_code else None
