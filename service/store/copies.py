"""A consistent copy of a SQLite database that others write to meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

from service.errors import StoreBusy, StoreFull


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy by SQLite's own backup, as of one moment; writers wait while it copies.

    In one step: in several, each commit in between would start it over, and a run commits every few
    seconds. Raises StoreBusy and StoreFull.
    """
    try:
        with (
            closing(sqlite3.connect(source, timeout=15)) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy, pages=-1)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise StoreFull("The disk is too full for a copy of the database.") from error
        raise StoreBusy("The database could not be copied now.") from error
