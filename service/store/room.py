"""How much the store may hold: a quota of its own, and disk that stays free for everything else."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from service.errors import StoreFull
from service.store import deleted_runs, space


@dataclass(frozen=True)
class Bounds:
    """In bytes; None and 0: no bound."""

    quota_bytes: int | None = None  # of the database and of blobs outside it
    min_free_bytes: int = 0  # of each disk that is written to


@dataclass(frozen=True)
class Room:
    """What is asked before anything large is stored."""

    bounds: Bounds = Bounds()
    folders: Sequence[Path] = ()  # those that are written to, on this machine
    blobs_outside: bool = False

    def check(self, session: Session, incoming: int = 0) -> None:
        """Raises StoreFull where `incoming` more bytes would go beyond a bound.

        Two pragmas (or one function of PostgreSQL's), a sum and a system call: cheap enough to be
        asked at every commit of an epoch.
        """
        quota = self.bounds.quota_bytes
        if quota is not None:
            used = self.used_bytes(session)
            if used + incoming > quota:
                raise StoreFull(
                    f"The store holds {used:,} bytes, and its quota is {quota:,}: "
                    "delete runs, or raise CAMREEL_QUOTA_BYTES."
                )
        free = self.free_bytes()
        if free is not None and free - incoming < self.bounds.min_free_bytes:
            raise StoreFull(
                f"The disk has {free:,} bytes free, and {self.bounds.min_free_bytes:,} are to stay "
                "free: make room, or lower CAMREEL_MIN_FREE_BYTES."
            )

    def used_bytes(self, session: Session) -> int:
        """What counts against the quota: pages in use, and the bytes of blobs outside.

        Blobs of deleted runs do not count: their space is about to be free.
        """
        outside = space.blob_bytes(session) if self.blobs_outside else 0
        return max(0, space.used_bytes(session) + outside - deleted_runs.blob_bytes(session))

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
