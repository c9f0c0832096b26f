"""What a blob store does: keeps bytes under a key, written once."""

from typing import Protocol

from sqlalchemy.orm import Session


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
        """Forget those keys; one that is not there is no error."""
