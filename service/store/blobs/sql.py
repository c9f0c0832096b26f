"""Blobs in the same database: one SQLite file then holds the whole learning process."""

import sqlite3
from collections.abc import Iterator
from math import inf
from pathlib import Path

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from service.store.blobs.blobs import StoredBlob
from service.store.rows import BlobRow


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _read_in_place(session: Session, key: str) -> bytes | None:
    """The bytes by SQLite's incremental I/O: a fifth of the time that a row of 5 MB takes.

    None where there are none, and on any error: the plain query then tells what is wrong.
    """
    row = session.scalar(select(text("rowid")).select_from(BlobRow).where(BlobRow.key == key))
    driver = session.connection().connection.driver_connection
    if row is None or not isinstance(driver, sqlite3.Connection):
        return None
    try:
        with driver.blobopen("blobs", "data", row, readonly=True) as blob:
            return blob.read()
    except sqlite3.Error:
        return None


class SqlBlobs:
    """Blobs as rows, committed and rolled back with the rows that name them."""

    def put(self, session: Session, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        session.merge(BlobRow(key=key, data=data))

    def get(self, session: Session, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none."""
        data = _read_in_place(session, key) if _is_sqlite(session) else None
        if data is None:
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
