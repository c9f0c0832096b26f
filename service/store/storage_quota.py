"""Limits of what the store may hold: a quota, and disk space that must remain free."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from service.store import deleted_runs, disk_space
from service.store_errors import StoreFull


@dataclass(frozen=True)
class StorageLimits:
    """Limits in bytes; None and 0 mean no limit."""

    quota_bytes: int | None = None  # database and external blobs together
    min_free_bytes: int = 0  # on each local disk that is written to


@dataclass(frozen=True)
class StorageQuota:
    """Checks the limits before large writes."""

    limits: StorageLimits = StorageLimits()
    folders: Sequence[Path] = ()  # on this machine, that the store writes to
    has_external_blobs: bool = False

    def check(self, session: Session, new_bytes: int = 0) -> None:
        """Raises StoreFull if `new_bytes` more would exceed a limit.

        Two pragmas (or one PostgreSQL function), a sum and a system call: cheap enough for every
        commit of an epoch.
        """
        quota = self.limits.quota_bytes
        if quota is not None:
            used_bytes = self.used_bytes(session)
            if used_bytes + new_bytes > quota:
                raise StoreFull(
                    f"The store holds {used_bytes:,} bytes, and its quota is {quota:,}: "
                    "delete runs, or raise CAMREEL_QUOTA_BYTES."
                )
        free_bytes = self.free_bytes()
        if free_bytes is not None and free_bytes - new_bytes < self.limits.min_free_bytes:
            raise StoreFull(
                f"The disk has {free_bytes:,} bytes free, and {self.limits.min_free_bytes:,} must "
                "remain free: free space, or lower CAMREEL_MIN_FREE_BYTES."
            )

    def used_bytes(self, session: Session) -> int:
        """Bytes that count against the quota: the database and external blobs.

        Blobs of deleted runs do not count: their space is about to be freed.
        """
        external = disk_space.blob_bytes(session) if self.has_external_blobs else 0
        return max(
            0, disk_space.database_bytes(session) + external - deleted_runs.blob_bytes(session)
        )

    def free_bytes(self) -> int | None:
        """Free bytes of the fullest local disk; None without local folders."""
        free_by_folder = [shutil.disk_usage(_existing(folder)).free for folder in self.folders]
        return min(free_by_folder, default=None)


def _existing(folder: Path) -> Path:
    """The folder, or its nearest ancestor that exists."""
    folder = folder.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return folder
