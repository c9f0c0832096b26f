"""Where the bytes of checkpoints, training states and job results are kept.

A new blob store is a file here and a line in the table.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from service.errors import UnknownName
from service.store.blobs.blob_store import BlobStore, StoredBlob
from service.store.blobs.blobs import Blobs
from service.store.blobs.file import FileBlobs

IN_DATABASE = "sql"


class BlobStoreType(NamedTuple):
    """An external blob store as the setting names it: `name:argument`."""

    argument: str  # what the argument is, for messages
    open: Callable[[str], BlobStore]


BLOB_STORES: dict[str, BlobStoreType] = {
    "file": BlobStoreType("<folder>", lambda folder: FileBlobs(Path(folder))),
}
"""External blob stores by name. Without one, blobs are rows of the database (`sql.py`)."""


def open_blob_store(setting: str) -> BlobStore | None:
    """The external blob store of a setting such as `file:/var/lib/camreel/blobs`; None for `sql`.

    Raises UnknownName.
    """
    if setting == IN_DATABASE:
        return None
    name, _, argument = setting.partition(":")
    if name not in BLOB_STORES or not argument:
        valid_settings = [f"{name}:{entry.argument}" for name, entry in BLOB_STORES.items()]
        raise UnknownName("CAMREEL_BLOBS", setting, [IN_DATABASE, *valid_settings])
    return BLOB_STORES[name].open(argument)


__all__ = ["BLOB_STORES", "BlobStore", "Blobs", "StoredBlob", "open_blob_store"]
