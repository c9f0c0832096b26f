"""Connections to the SQLite file that is at its path now, not to one that was moved or replaced."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from service.store import sqlite_file

Identity = tuple[int, int, bool]  # device, inode, and whether it can be written
KEY = "sqlite-identity"


def bind_connections(engine: Engine, file: Path) -> None:
    """Have each connection of the engine open `file` without creating it, and give up connections
    whose file is not at that path any more, or was read-only and is not now.
    """

    def open_existing(
        _: Dialect, entry: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
    ) -> None:
        # Before it is opened: should another file take its place meanwhile, the connection is one
        # to give up, whichever of the two it has.
        entry.info[KEY] = _identity(file)
        arguments[:] = [sqlite_file.file_uri(file, "rw")]
        options["uri"] = True

    def check(_connection: Any, entry: ConnectionPoolEntry, _proxy: Any) -> None:
        if entry.info.get(KEY) != _identity(file):
            raise DisconnectionError("The SQLite file is another one now.")

    event.listen(engine, "do_connect", open_existing)
    event.listen(engine, "checkout", check)


def _identity(file: Path) -> Identity | None:
    try:
        status = file.stat()
    except OSError:
        return None
    # A connection that was opened while it could not be written never writes.
    return status.st_dev, status.st_ino, os.access(file, os.W_OK)
