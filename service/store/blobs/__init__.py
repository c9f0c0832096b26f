"""Where checkpoints' bytes are kept. A new backend is a file here and a line in the table."""

from collections.abc import Callable
from pathlib import Path

from service.errors import UnknownName
from service.store.blobs.blobs import Blobs, StoredBlob
from service.store.blobs.file import FileBlobs
from service.store.blobs.sql import SqlBlobs

BLOBS: dict[str, Callable[[str], Blobs]] = {
    "sql": lambda _: SqlBlobs(),
    "file": lambda folder: FileBlobs(Path(folder)),
}


def open_blobs(setting: str) -> Blobs:
    """The blob store of a setting such as `sql` or `file:/var/lib/camreel/blobs`."""
    kind, _, place = setting.partition(":")
    if kind not in BLOBS or (kind != "sql" and not place):
        raise UnknownName("CAMREEL_BLOBS", setting, ["sql", "file:<folder>"])
    return BLOBS[kind](place)


__all__ = ["BLOBS", "Blobs", "StoredBlob", "open_blobs"]
