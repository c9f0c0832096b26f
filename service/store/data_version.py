"""Whether anything has been committed to a SQLite file: a check that costs microseconds."""

import itertools
import sqlite3
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

from cachetools import LRUCache

from service.store import sqlite_file

T = TypeVar("T")

Version = tuple[int, int]
"""Number of the connection that read it, and SQLite's own number of the version."""


class DataVersion:
    """The version of a SQLite file's data. Thread-safe.

    Uses a connection of its own, because SQLite does not count a connection's own commits.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._numbers = itertools.count()
        self._number = 0
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None  # device and inode

    def read(self) -> Version | None:
        """A value that differs after each commit, by any process; None if it cannot be read.

        Never waits for a lock.
        """
        with self._lock:
            try:
                (version,) = self._connect().execute("PRAGMA data_version").fetchone()
            except (OSError, sqlite3.Error):
                self._disconnect()
                return None
            return self._number, version

    def close(self) -> None:
        """Close the connection; the next `read` opens another."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> sqlite3.Connection:
        """The connection to the file that is there now. Raises OSError and sqlite3.Error."""
        status = self._file.stat()
        identity = status.st_dev, status.st_ino
        if self._connection is None or identity != self._identity:
            self._disconnect()
            # Before the file is opened: if it is replaced meanwhile, the next call opens it again.
            self._identity, self._number = identity, next(self._numbers)
            uri = sqlite_file.file_uri(self._file, "ro")
            self._connection = sqlite3.connect(
                uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
        return self._connection


class ReadCache(Generic[T]):
    """Values read from a database, by key, each valid until the next commit. Thread-safe."""

    def __init__(self, max_values: int) -> None:
        self._values: LRUCache[Hashable, tuple[Version, T]] = LRUCache(max_values)
        self._lock = threading.Lock()

    def get_or_read(self, version: Version | None, key: Hashable, read: Callable[[], T]) -> T:
        """The value if it was read at that version, else what `read` gives.

        The caller has read the version before: a commit during `read` makes the value outdated.
        Where it is unknown, None, nothing is kept.
        """
        if version is None:
            return read()
        with self._lock:
            entry = self._values.get(key)
        if entry is not None and entry[0] == version:
            return entry[1]
        value = read()
        with self._lock:
            self._values[key] = version, value
        return value
