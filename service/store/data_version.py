"""Whether anything has been committed to a SQLite file: a check that costs microseconds."""

import itertools
import sqlite3
from pathlib import Path

from service.store import sqlite_file

Version = tuple[int, int]
"""Number of the connection that read it, and SQLite's own number of the version."""


class DataVersion:
    """The version of a SQLite file's data. For one thread, which also closes it.

    Uses a connection of its own, because SQLite does not count a connection's own commits.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._numbers = itertools.count()
        self._number = 0
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # device and inode

    def read(self) -> Version | None:
        """A value that differs after each commit, by any process; None if it cannot be read.

        Never waits for a lock.
        """
        try:
            (version,) = self._connect().execute("PRAGMA data_version").fetchone()
        except (OSError, sqlite3.Error):
            self.close()
            return None
        return self._number, version

    def close(self) -> None:
        """Close the connection; the next `read` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        """The connection to the file that is there now. Raises OSError and sqlite3.Error."""
        status = self._file.stat()
        identity = status.st_dev, status.st_ino
        if self._connection is None or identity != self._identity:
            self.close()
            # Before the file is opened: if it is replaced meanwhile, the next call opens it again.
            self._identity, self._number = identity, next(self._numbers)
            uri = sqlite_file.file_uri(self._file, "ro")
            self._connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)
        return self._connection
