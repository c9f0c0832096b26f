"""Errors of SQLAlchemy and its drivers, translated to errors of ours: no other leaves the store.

The tables are by PostgreSQL's SQLSTATE (its documentation's appendix A, "PostgreSQL Error Codes")
and by SQLite's result code (https://www.sqlite.org/rescode.html).
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

from service.errors import (
    CamreelError,
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
from service.store.sqlite_file import database_file

MESSAGES: dict[type[CamreelError], str] = {
    StoreBusy: "The database did not answer in time.",
    StoreReadOnly: "The database accepts no writes: it is read-only.",
    StoreMissing: "The database does not exist any more at its address.",
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
"""By code or class; the longest entry that a code starts with counts."""

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
"""By extended code, or by its low byte, the kind."""

# Of connections that failed psycopg gives no code.
TEXTS: dict[str, type[CamreelError]] = {
    r"disk is full|No space left": StoreFull,
    r"no such (table|column)|has no column named|ON CONFLICT clause does not match": SchemaMismatch,
    r"This connection is closed": StoreBusy,  # the file changed again while it was opened anew
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
"""Of writes to a file or folder of the store; any other is a StoreInputOutput."""

log = structlog.get_logger()


@contextmanager
def translate_errors(engine: Engine) -> Iterator[None]:
    """Raise an error of ours in place of SQLAlchemy's, or of SQLite's driver, within the block.

    After an error that may be the connection's own, the engine's other connections are not used
    again: one to PostgreSQL that began read-only stays so when the server is not any more, and so
    does a SQLite file's.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        ours = to_camreel_error(error, database_file(engine))
        if isinstance(ours, StoreUnavailable) and not isinstance(ours, StoreBusy):
            engine.dispose()
        raise ours from error


def to_camreel_error(error: Exception, file: Path | None = None) -> CamreelError:
    """The error of ours that stands for one of SQLAlchemy's or a driver's.

    `file` is that of a SQLite database: one that cannot be opened is told by what is the matter
    with it.
    """
    if isinstance(error, PoolTimeout):
        return StoreBusy("All connections to the database are in use.")
    original: BaseException = error
    if isinstance(error, DBAPIError) and error.orig is not None:
        original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_NOTADB:
        return SchemaMismatch("The database's file is no SQLite database.")
    kind = (
        _by_errno(original)
        or _by_sqlite_code(code, file)
        or _by_sqlstate(getattr(original, "sqlstate", None))
        or _by_text(str(original))
        or _by_connection(error, code)
    )
    if kind is None:
        kind = StatementRefused
        log.error("statement refused", exc_info=error)
    return kind(MESSAGES[kind])


def os_error_to_camreel_error(error: OSError) -> CamreelError:
    """The error of ours for a file or folder of the store that could not be written."""
    kind = ERRNOS.get(error.errno or 0, StoreInputOutput)
    messages: dict[type[CamreelError], str] = {
        StoreFull: "The disk that holds the blobs is full.",
        StoreReadOnly: "The folder of blobs accepts no writes.",
        StoreMissing: "The folder of blobs does not exist any more.",
        StoreInputOutput: "The disk that holds the blobs failed to read or write.",
    }
    return kind(messages[kind])


def _by_errno(error: BaseException) -> type[CamreelError] | None:
    return ERRNOS.get(error.errno or 0) if isinstance(error, OSError) else None


def _by_sqlite_code(code: int | None, file: Path | None) -> type[CamreelError] | None:
    if code is None:
        return None
    if code & 0xFF == sqlite3.SQLITE_CANTOPEN:
        return _unopened(file)
    return SQLITE_CODES.get(code) or SQLITE_CODES.get(code & 0xFF)


def _unopened(file: Path | None) -> type[CamreelError]:
    """What keeps SQLite from opening the file, or the journal beside it."""
    if file is None:
        return StoreInputOutput
    if not file.exists():
        return StoreMissing
    # Of a read-only file system it is not granted to root either.
    return StoreBusy if os.access(file.parent, os.W_OK) else StoreReadOnly


def _by_sqlstate(state: str | None) -> type[CamreelError] | None:
    if state is None:
        return None
    prefixes = (state[:length] for length in range(len(state), 1, -1))
    return next((SQLSTATES[prefix] for prefix in prefixes if prefix in SQLSTATES), None)


def _by_text(text: str) -> type[CamreelError] | None:
    return next((kind for pattern, kind in TEXTS.items() if re.search(pattern, text)), None)


def _by_connection(error: Exception, sqlite_code: int | None) -> type[CamreelError] | None:
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    # SQLite's generic error is a wrong statement's; a server's without a code, its connection's.
    unanswered = isinstance(error, OperationalError) and sqlite_code is None
    return StoreBusy if lost or unanswered else None
