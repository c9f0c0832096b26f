"""Blobs in the same database: one SQLite file then holds the whole learning process."""

from collections.abc import Iterator
from math import inf
from pathlib import Path

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.store.blobs.blobs import StoredBlob
from service.store.tables import BlobRow


class SqlBlobs:
    """Blobs as rows, committed and rolled back with the rows that name them."""

    def put(self, session: Session, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        session.merge(BlobRow(key=key, data=data))

    def get(self, session: Session, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none."""
        data = session.scalar(select(BlobRow.data).where(BlobRow.key == key))
        if data is None:
            raise KeyError(key)
        return data

    def delete(self, session: Session, keys: list[str]) -> None:
        """Forget those keys."""
        session.execute(delete(BlobRow).where(BlobRow.key.in_(keys)))

    def stored(self, session: Session) -> Iterator[StoredBlob]:
        """All rows. None of them is half: a transaction is seen whole."""
        query = select(BlobRow.key, func.length(BlobRow.data)).order_by(BlobRow.key)
        for key, size in session.execute(query).all():
            yield StoredBlob(key, size, inf, temporary=False)

    def sweep(self, session: Session, names: list[str]) -> None:
        """Delete rows."""
        self.delete(session, names)

    def folders(self) -> list[Path]:
        """None: the database has them."""
        return []
