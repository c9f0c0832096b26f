"""Files that are complete or absent, and locks that end with their process."""

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from camreel.errors import RunInUse

TEMPORARY_SUFFIX = ".tmp"

_locked_paths: set[tuple[int, Path]] = set()
_registry_lock = threading.Lock()


def write_atomically(
    path: Path, write: Callable[[BinaryIO], None], *, is_synced: bool = False
) -> None:
    """Write a file under a temporary name and rename it.

    The file then survives the end of the process; with `is_synced`, also a loss of power. Raises
    OSError; the temporary file is then deleted.
    """
    temporary_path = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with temporary_path.open("wb") as file:
            write(file)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        temporary_path.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary_path.unlink()
        raise
    if is_synced:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Write a file's content to the disk."""
    # Windows syncs only files that are open for writing.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the operating system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FileLock:
    """An exclusive lock on a file. It ends with the process, however that ends.

    A record lock, which forked children such as the workers of a DataLoader do not inherit.
    """

    def __init__(self, path: Path) -> None:
        self._key = (os.getpid(), path.resolve())
        self._file: BinaryIO | None = None
        self._path = path

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self, timeout_seconds: float = 0.0) -> None:
        """Take the lock, within that time. Raises RunInUse if another object, of any process,
        holds it.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self._try_to_acquire()
            except RunInUse:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _try_to_acquire(self) -> None:
        with _registry_lock:
            # The system's locks do not exclude each other within a process.
            if self._key in _locked_paths:
                raise RunInUse(f"this process already uses {self._path.parent}")
            file = self._path.open("a+b")
            try:
                _lock(file)
            except OSError as error:
                file.close()
                raise RunInUse(f"another process uses {self._path.parent}") from error
            _locked_paths.add(self._key)
            self._file = file

    def release(self) -> None:
        """Release the lock, if it is held."""
        with _registry_lock:
            if self._file is not None:
                self._file.close()
                self._file = None
                _locked_paths.discard(self._key)


def is_locked(path: Path) -> bool:
    """Whether any process holds the lock of that file."""
    lock = FileLock(path)
    try:
        lock.acquire()
    except RunInUse:
        return True
    lock.release()
    return False


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
