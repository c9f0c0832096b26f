"""The port of a blob store outside the database: bytes by key, each key written once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class StoredBlob:
    """A blob as its store lists it: the bytes of a key, or what an interrupted write left."""

    name: str  # the key, or the name of a temporary file
    bytes: int
    age_seconds: float  # since it was written; infinite for a row of a committed transaction
    is_temporary: bool


class BlobStore(Protocol):
    """Bytes by key. `Blobs` calls it at the right moment of a transaction, and within the quota.

    `put` returns when the bytes are durable, so that no committed row names bytes that are missing.
    Failures raise StoreUnavailable or StoreFull.
    """

    def put(self, key: str, data: bytes) -> None:
        """Store `data`, in place of bytes that an earlier attempt left under the same key."""

    def get(self, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none."""

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the bytes of those keys. A missing key is no error."""

    def list_blobs(self) -> Iterator[StoredBlob]:
        """All blobs, whether a row names them or not, and what interrupted writes left."""

    def delete_listed(self, names: Sequence[str]) -> None:
        """Delete by the names that `list_blobs` returns. A missing name is no error."""

    @property
    def local_folders(self) -> Sequence[Path]:
        """Folders on this machine that the store writes to; empty for a remote store."""
