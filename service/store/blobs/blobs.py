"""The blobs of a store: within its quota, and consistent with its transactions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from service.errors import CamreelError
from service.store.blobs.blob_store import BlobStore, StoredBlob
from service.store.blobs.sql import SqlBlobs

QuotaCheck = Callable[[Session, int], None]
"""Raises StoreFull where that many more bytes exceed the quota or the free disk space."""

log = structlog.get_logger()


def _no_quota(_session: Session, _new_bytes: int) -> None:
    return


class Blobs:
    """Bytes by key, in rows of the database or in an external blob store.

    Every call is part of the transaction that writes or reads the rows which name the blobs.
    """

    def __init__(self, external: BlobStore | None, check_quota: QuotaCheck = _no_quota) -> None:
        self._external = external
        self._check_quota = check_quota

    @property
    def is_external(self) -> bool:
        """Whether the bytes are outside the database."""
        return self._external is not None

    @property
    def local_folders(self) -> Sequence[Path]:
        """Folders on this machine that blobs are written to, other than the database's."""
        return () if self._external is None else self._external.local_folders

    def put(self, session: Session, key: str, data: bytes) -> None:
        """Store `data`, in place of bytes that an earlier attempt left. Raises StoreFull.

        Bytes in the database are rolled back with the transaction. Bytes in an external store
        remain; the next attempt overwrites them, and the doctor finds them.
        """
        self._check_quota(session, len(data))
        self._at(session).put(key, data)

    def get(self, session: Session, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none, StoreUnavailable if unreadable."""
        return self._at(session).get(key)

    def list_blobs(self, session: Session) -> Iterator[StoredBlob]:
        """All blobs, whether a row names them or not."""
        return self._at(session).list_blobs()

    def delete(self, session: Session, keys: Sequence[str]) -> None:
        """Delete those keys when the transaction commits. A missing key is no error.

        If the process ends between the commit and the deletion, an external store keeps blobs that
        no row names; the doctor finds them.
        """
        if self._external is None:
            SqlBlobs(session).delete(keys)
        else:
            event.listen(session, "after_commit", lambda _: self._delete_external(keys), once=True)

    def delete_now(self, session: Session, names: Sequence[str]) -> None:
        """Delete keys, or names from `list_blobs`, before the transaction commits."""
        self._at(session).delete_listed(names)

    def _at(self, session: Session) -> BlobStore:
        return self._external or SqlBlobs(session)

    def _delete_external(self, keys: Sequence[str]) -> None:
        # The rows are gone: a failure cannot undo that, and the doctor finds the blobs.
        try:
            if self._external is not None:
                self._external.delete(keys)
        except CamreelError as error:
            log.warning("blobs not deleted", blobs=len(keys), error=str(error))
