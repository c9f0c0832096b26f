"""How much the store may hold: a quota of its own, and disk that stays free for everything else."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from service.errors import StoreFull
from service.store import deleted_runs, disk_space


@dataclass(frozen=True)
class StorageLimits:
    """In bytes; None and 0: no bound."""

    quota_bytes: int | None = None  # of the database and of blobs outside it
    min_free_bytes: int = 0  # of each disk that is written to


@dataclass(frozen=True)
class StorageQuota:
    """What is asked before anything large is stored."""

    limits: StorageLimits = StorageLimits()
    folders: Sequence[Path] = ()  # those that are written to, on this machine
    has_external_blobs: bool = False

    def check(self, session: Session, new_bytes: int = 0) -> None:
        """Raises StoreFull where `incoming` more bytes would go beyond a bound.

        Two pragmas (or one function of PostgreSQL's), a sum and a system call: cheap enough to be
        asked at every commit of an epoch.
        """
        quota = self.limits.quota_bytes
        if quota is not None:
            used = self.used_bytes(session)
            if used + new_bytes > quota:
                raise StoreFull(
                    f"The store holds {used:,} bytes, and its quota is {quota:,}: "
                    "delete runs, or raise CAMREEL_QUOTA_BYTES."
                )
        free = self.free_bytes()
        if free is not None and free - new_bytes < self.limits.min_free_bytes:
            raise StoreFull(
                f"The disk has {free:,} bytes free, and {self.limits.min_free_bytes:,} are to stay "
                "free: make room, or lower CAMREEL_MIN_FREE_BYTES."
            )

    def used_bytes(self, session: Session) -> int:
        """What counts against the quota: pages in use, and the bytes of blobs outside.

        Blobs of deleted runs do not count: their space is about to be free.
        """
        outside = disk_space.blob_bytes(session) if self.has_external_blobs else 0
        return max(
            0, disk_space.database_bytes(session) + outside - deleted_runs.blob_bytes(session)
        )

    def free_bytes(self) -> int | None:
        """Of the fullest disk that is written to; None where none is on this machine."""
        free = [shutil.disk_usage(_existing(folder)).free for folder in self.folders]
        return min(free, default=None)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
