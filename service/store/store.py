"""The store as the flows hold it: one database, one place for blobs, two kinds of transaction."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.store.blobs import Blobs, open_blobs
from service.store.blobs.bounded import BoundedBlobs
from service.store.database import open_engine, transaction
from service.store.room import Bounds, Room

UNBOUNDED = Bounds()
BOUNDLESS = Room()


@dataclass(frozen=True)
class Store:
    """A database and its blobs. Threads may share it; processes each open their own."""

    engine: Engine
    blobs: Blobs
    room: Room = BOUNDLESS

    @classmethod
    def open(cls, database_url: str, blobs: str = "sql", bounds: Bounds = UNBOUNDED) -> "Store":
        """Open the database at a SQLAlchemy URL; its schema is looked at by `schema.py`.

        Whatever is stored beyond `bounds` raises StoreFull; reads go on.
        """
        engine = open_engine(database_url)
        found = open_blobs(blobs)
        outside = found.folders()
        room = Room(bounds, [*_database_folders(engine), *outside], bool(outside))
        return cls(engine, BoundedBlobs(found, room), room)

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return transaction(self.engine, writes=False)

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that writes; on SQLite it waits for its turn at the start."""
        return transaction(self.engine, writes=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file, where there is one."""
        name = self.engine.url.database
        there = self.engine.dialect.name == "sqlite" and name and name != ":memory:"
        return Path(name) if there and name else None

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


@contextmanager
def opened(database_url: str, blobs: str = "sql", bounds: Bounds = UNBOUNDED) -> Iterator[Store]:
    """A store for the time of a block."""
    store = Store.open(database_url, blobs, bounds)
    try:
        yield store
    finally:
        store.close()


def _database_folders(engine: Engine) -> list[Path]:
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return []
    return [Path(name).parent]
