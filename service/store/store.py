"""The store as the flows hold it: one database, one place for blobs, two kinds of transaction."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.folders import check_folder
from service.store import sqlite_file
from service.store.blobs import Blobs, open_blobs
from service.store.blobs.bounded import BoundedBlobs
from service.store.database import open_engine, transaction
from service.store.sqlite_file import database_file
from service.store.storage_quota import StorageLimits, StorageQuota

NO_LIMITS = StorageLimits()
UNLIMITED_QUOTA = StorageQuota()


@dataclass(frozen=True)
class Store:
    """A database and its blobs. Threads may share it; processes each open their own."""

    engine: Engine
    blobs: Blobs
    quota: StorageQuota = UNLIMITED_QUOTA
    database_setting: str = "CAMREEL_DATABASE_URL"  # that names the place of the database

    @classmethod
    def open(
        cls, database: Path | str, blobs: str = "sql", limits: StorageLimits = NO_LIMITS
    ) -> "Store":
        """Open a SQLite file or the database at a SQLAlchemy URL; `schema.py` checks its schema.

        Whatever is stored beyond `bounds` raises StoreFull; reads go on.
        """
        engine = open_engine(database)
        blob_store = open_blobs(blobs)
        outside = blob_store.folders()
        folder = [file.parent] if (file := database_file(engine)) else []
        room = StorageQuota(limits, [*folder, *outside], bool(outside))
        setting = "CAMREEL_STATE_DIR" if isinstance(database, Path) else "CAMREEL_DATABASE_URL"
        return cls(engine, BoundedBlobs(blob_store, room), room, setting)

    def prepare(self) -> None:
        """Create the SQLite file and its folder where they are missing.

        Raises InvalidValue where they cannot be, and where blobs cannot be in their folder.
        """
        for folder in self.blobs.folders():
            check_folder(folder, "CAMREEL_BLOBS")
        if self.file is not None:
            sqlite_file.prepare(self.file, self.database_setting)

    def read_session(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return transaction(self.engine, writes=False)

    def write_session(self) -> AbstractContextManager[Session]:
        """A transaction that writes; on SQLite it waits for its turn at the start."""
        return transaction(self.engine, writes=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file, where there is one."""
        return database_file(self.engine)

    @property
    def label(self) -> str:
        """The SQLite file's path, or the URL without its password."""
        return str(self.file or self.engine.url.render_as_string(hide_password=True))

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


@contextmanager
def open_store(
    database: Path | str, blobs: str = "sql", limits: StorageLimits = NO_LIMITS
) -> Iterator[Store]:
    """A store for the time of a block."""
    store = Store.open(database, blobs, limits)
    try:
        yield store
    finally:
        store.close()
