"""Blobs within bounds: what would go beyond them is refused before a byte is written."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.orm import Session

from service.store.blobs.blobs import Blobs, StoredBlob
from service.store.storage_quota import StorageQuota


class BoundedBlobs:
    """Another blob store's blobs, as long as there is room for them."""

    def __init__(self, blobs: Blobs, room: StorageQuota) -> None:
        self._blobs = blobs
        self._room = room

    def put(self, session: Session, key: str, data: bytes) -> None:
        """Keep `data`. Raises StoreFull where there is no room for it."""
        self._room.check(session, len(data))
        self._blobs.put(session, key, data)

    def get(self, session: Session, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none."""
        return self._blobs.get(session, key)

    def delete(self, session: Session, keys: list[str]) -> None:
        """Forget those keys."""
        self._blobs.delete(session, keys)

    def stored(self, session: Session) -> Iterator[StoredBlob]:
        """All that there is."""
        return self._blobs.stored(session)

    def sweep(self, session: Session, names: list[str]) -> None:
        """Delete what no row names."""
        self._blobs.sweep(session, names)

    def folders(self) -> list[Path]:
        """Those of the other store."""
        return self._blobs.folders()
