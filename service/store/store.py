"""The store as flows use it: a database, its blobs, read and write transactions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.folders import check_folder
from service.store import sqlite_file
from service.store.blobs import Blobs, open_blob_store
from service.store.data_version import DataVersion, Version
from service.store.database import open_engine, transaction
from service.store.sqlite_file import database_file
from service.store.storage_quota import StorageLimits, StorageQuota

NO_LIMITS = StorageLimits()
UNLIMITED_QUOTA = StorageQuota()


@dataclass(frozen=True)
class Store:
    """A database and its blobs. Threads may share it; each process opens its own."""

    engine: Engine
    blobs: Blobs
    quota: StorageQuota = UNLIMITED_QUOTA
    database_setting: str = "CAMREEL_DATABASE_URL"  # that names the database
    data_version: DataVersion | None = None  # None: of a database server

    @classmethod
    def open(
        cls, database: Path | str, blobs: str = "sql", limits: StorageLimits = NO_LIMITS
    ) -> "Store":
        """Open a SQLite file or the database at a SQLAlchemy URL; `schema.py` checks its schema.

        `blobs` is a setting such as `sql` or `file:/path`. Writes beyond `limits` raise StoreFull.
        """
        engine = open_engine(database)
        external = open_blob_store(blobs)
        folders = [file.parent] if (file := database_file(engine)) else []
        if external is not None:
            folders += external.local_folders
        quota = StorageQuota(limits, folders, has_external_blobs=external is not None)
        setting = "CAMREEL_STATE_DIR" if isinstance(database, Path) else "CAMREEL_DATABASE_URL"
        version = DataVersion(file) if file else None
        return cls(engine, Blobs(external, quota.check), quota, setting, version)

    def prepare(self) -> None:
        """Create the SQLite file and its folder if they are missing.

        Raises InvalidValue if that is impossible, and if the folder of blobs is not usable.
        """
        for folder in self.blobs.local_folders:
            check_folder(folder, "CAMREEL_BLOBS")
        if self.file is not None:
            sqlite_file.prepare(self.file, self.database_setting)

    def read_session(self) -> AbstractContextManager[Session]:
        """A read-only transaction."""
        return transaction(self.engine, writes=False)

    @contextmanager
    def lazy_read_session(self) -> Iterator[Callable[[], Session]]:
        """A function that returns the read-only transaction of the block, begun by its first call.

        For callers that may find everything in memory.
        """
        with ExitStack() as stack:
            yield cache(lambda: stack.enter_context(self.read_session()))

    def write_session(self) -> AbstractContextManager[Session]:
        """A write transaction. On SQLite it waits for the write lock when it begins."""
        return transaction(self.engine, writes=True)

    def read_version(self) -> Version | None:
        """A value that differs after each commit, read in microseconds; None if that is unknown,
        as on a database server.
        """
        return None if self.data_version is None else self.data_version.read()

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for a database server."""
        return database_file(self.engine)

    @property
    def label(self) -> str:
        """The SQLite file's path, or the URL without its password."""
        return str(self.file or self.engine.url.render_as_string(hide_password=True))

    def close(self) -> None:
        """Close all connections."""
        if self.data_version is not None:
            self.data_version.close()
        self.engine.dispose()


@contextmanager
def open_store(
    database: Path | str, blobs: str = "sql", limits: StorageLimits = NO_LIMITS
) -> Iterator[Store]:
    """A store that is closed at the end of the block. Parameters as of `Store.open`."""
    store = Store.open(database, blobs, limits)
    try:
        yield store
    finally:
        store.close()
