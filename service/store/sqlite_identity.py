"""Discards pooled connections to a SQLite file that was moved or replaced."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from service.store import sqlite_file

Identity = tuple[int, int, bool]  # device, inode, and whether it is writable
KEY = "sqlite-identity"


def bind_connections(engine: Engine, file: Path) -> None:
    """Open `file` with each new connection without creating it. On checkout, discard connections
    whose file is no longer at that path, or was read-only and no longer is.
    """

    def open_existing(
        _: Dialect, entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        # Before the file is opened: if it is replaced in the meantime, the connection is discarded
        # at the next checkout, whichever of the two files it opened.
        entry.info[KEY] = _identity(file)
        arguments[:] = [sqlite_file.file_uri(file, "rw")]
        options["uri"] = True

    def check(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info.get(KEY) != _identity(file):
            raise DisconnectionError("The SQLite file has been replaced.")

    event.listen(engine, "do_connect", open_existing)
    event.listen(engine, "checkout", check)


def _identity(file: Path) -> Identity | None:
    try:
        status = file.stat()
    except OSError:
        return None
    # A connection that was opened while the file was read-only remains read-only.
    return status.st_dev, status.st_ino, os.access(file, os.W_OK)
