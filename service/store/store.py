"""The store as the flows hold it: one database, one place for blobs, two kinds of transaction."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.store.blobs import Blobs, open_blobs
from service.store.database import open_engine, transaction


@dataclass(frozen=True)
class Store:
    """A database and its blobs. Threads may share it; processes each open their own."""

    engine: Engine
    blobs: Blobs

    @classmethod
    def open(cls, database_url: str, blobs: str = "sql") -> "Store":
        """Open the database at a SQLAlchemy URL; its schema is looked at by `schema.py`."""
        return cls(open_engine(database_url), open_blobs(blobs))

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return transaction(self.engine, writes=False)

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that writes; on SQLite it waits for its turn at the start."""
        return transaction(self.engine, writes=True)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


@contextmanager
def opened(database_url: str, blobs: str = "sql") -> Iterator[Store]:
    """A store for the time of a block."""
    store = Store.open(database_url, blobs)
    try:
        yield store
    finally:
        store.close()
