"""What a blob store does: keeps bytes under a key, written once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy.orm import Session


@dataclass(frozen=True)
class StoredBlob:
    """What a blob store has under a name: a key's bytes, or what a broken write left."""

    name: str
    bytes: int
    age_seconds: float  # since it was written; infinite where only whole transactions are seen
    temporary: bool


class Blobs(Protocol):
    """Bytes by key. Each call stands inside the transaction that the epoch's rows are written in.

    A store in the database takes part in it; one outside makes its bytes durable before it returns,
    so that a row never points at bytes that are not there.
    """

    def put(self, session: Session, key: str, data: bytes) -> None:
        """Keep `data`; bytes under the same key, left by an attempt that failed, give way."""

    def get(self, session: Session, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none."""

    def delete(self, session: Session, keys: list[str]) -> None:
        """Forget those keys, when the transaction commits; one that is not there is no error."""

    def stored(self, session: Session) -> Iterator[StoredBlob]:
        """All that there is, whether a row names it or not."""

    def sweep(self, session: Session, names: list[str]) -> None:
        """Delete what `stored` named and no row does."""

    def folders(self) -> list[Path]:
        """The folders of this machine's that are written to, beside the database's own."""
