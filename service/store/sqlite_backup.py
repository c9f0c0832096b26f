"""A consistent copy of a SQLite database that others write to meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

from service.store import driver_errors, sqlite_file


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy by SQLite's own backup, as of one moment; writers wait while it copies.

    In one step: in several, each commit in between would start it over, and a run commits every few
    seconds. Raises errors of ours alone.
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
