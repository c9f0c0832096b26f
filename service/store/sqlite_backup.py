"""A consistent copy of a SQLite database that is in use."""

import sqlite3
from contextlib import closing
from pathlib import Path

from service.store import driver_errors, sqlite_file


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy the database with SQLite's backup API. Writers wait until the copy is complete.

    All pages in one step: with several steps, each commit in between would restart the backup, and
    a run commits every few seconds. Raises StoreUnavailable, StoreFull or StoreDamaged.
    """
    try:
        with (
            closing(
                sqlite3.connect(sqlite_file.file_uri(source, "rw"), timeout=15, uri=True)
            ) as live,
            closing(sqlite3.connect(target)) as copy,
        ):
            live.backup(copy, pages=-1)
    except sqlite3.Error as error:
        raise driver_errors.to_camreel_error(error, source) from error
