"""Blobs in the same database: one SQLite file then holds the whole learning process."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

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
