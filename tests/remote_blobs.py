"""A blob store without a folder on this machine, as an object store behind HTTP is one."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.store.blobs import StoredBlob
from service.store_errors import StoreBusy


class RemoteObject(NamedTuple):
    """What the server has under a key."""

    data: bytes
    modified_at: float


BUCKETS: defaultdict[str, dict[str, RemoteObject]] = defaultdict(dict)
"""The server's state: it outlives the clients that stores open."""


class RemoteBlobs:
    """A client of one bucket. While `is_reachable` is False, every request fails."""

    is_reachable = True

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket

    def put(self, key: str, data: bytes) -> None:
        self._objects()[key] = RemoteObject(bytes(data), time.time())

    def get(self, key: str) -> bytes:
        return self._objects()[key].data

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._objects().pop(key, None)

    def list_blobs(self) -> Iterator[StoredBlob]:
        listed_at = time.time()
        for key, item in sorted(self._objects().items()):
            yield StoredBlob(key, len(item.data), listed_at - item.modified_at, is_temporary=False)

    def delete_listed(self, names: Sequence[str]) -> None:
        self.delete(names)

    @property
    def local_folders(self) -> Sequence:
        return ()

    def _objects(self) -> dict[str, RemoteObject]:
        if not self.is_reachable:
            raise StoreBusy("The object store did not answer in time.")
        return BUCKETS[self.bucket]
