"""Blobs as files of a folder, for databases that should stay small."""

import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from service import failpoints
from service.errors import StoreInputOutput, StoreMissing
from service.store import driver_errors
from service.store.blobs.blobs import StoredBlob

TEMPORARY = ".new-"
TEMPORARIES = (TEMPORARY, "tmp")  # the latter were made by versions before this one


log = structlog.get_logger()


class FileBlobs:
    """Blobs as files. A file appears whole, on disk, before the row that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, session: Session, key: str, data: bytes) -> None:  # noqa: ARG002
        """Keep `data`: a temporary file, fsync, rename, fsync of the folder."""
        path = self._path(key)
        try:
            self._make_folder(path.parent)
            # Left by a killed worker. No other writes here now: it would hold the run's row.
            for left in path.parent.glob(f"{TEMPORARY}*"):
                left.unlink(missing_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=TEMPORARY, delete=False
            ) as file:
                try:
                    failpoints.reach("blob-temporary")
                    file.write(data)
                    file.flush()
                    failpoints.reach("blob-written")
                    os.fsync(file.fileno())
                    failpoints.reach("blob-fsynced")
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            failpoints.reach("blob-renamed")
            _settle(path.parent)
        except OSError as error:
            raise driver_errors.os_error_to_camreel_error(error) from error

    def get(self, session: Session, key: str) -> bytes:  # noqa: ARG002
        """The bytes. Raises KeyError if there are none, StoreUnavailable if unreadable."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            # A folder that is not mounted now says nothing of the files in it.
            if self.folder.is_dir():
                raise KeyError(key) from error
            raise StoreMissing("The folder of blobs does not exist.") from error
        except OSError as error:
            raise StoreInputOutput("The folder of blobs cannot be read.") from error

    def delete(self, session: Session | None, keys: list[str]) -> None:
        """Forget those keys, and folders that are empty then.

        After the commit of the transaction: one that is rolled back still has its files. Should the
        process end in between, files are left that no row names; the doctor sweeps them.
        """
        paths = list(map(self._path, keys))
        if session is None:
            self._unlink_or_log(paths)
        else:
            event.listen(session, "after_commit", lambda _: self._unlink_or_log(paths), once=True)

    def stored(self, session: Session) -> Iterator[StoredBlob]:  # noqa: ARG002
        """All files of the folder, by name."""
        now = time.time()
        for path in sorted(self.folder.rglob("*")):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # a temporary one that has got its name meanwhile
            if not stat.S_ISDIR(status.st_mode):
                name = str(path.relative_to(self.folder))
                temporary = path.name.startswith(TEMPORARIES)
                yield StoredBlob(name, status.st_size, now - status.st_mtime, temporary)

    def sweep(self, session: Session, names: list[str]) -> None:  # noqa: ARG002
        """Delete files that `stored` named."""
        try:
            self._unlink([self.folder / name for name in names])
        except OSError as error:
            raise driver_errors.os_error_to_camreel_error(error) from error

    def folders(self) -> list[Path]:
        """The one folder."""
        return [self.folder]

    def _unlink_or_log(self, paths: list[Path]) -> None:
        # The rows are gone: whatever keeps the files cannot undo that, and the doctor sweeps them.
        try:
            self._unlink(paths)
        except OSError as error:
            log.warning("blob files left behind", files=len(paths), error=error.strerror)

    def _unlink(self, paths: list[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            # The outermost one stays: another run may be about to make its folder in it.
            while folder.parent != self.folder and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
            _settle(folder.parent)

    def _path(self, key: str) -> Path:
        # Keys are ours alone, and of this form: no path ever comes from a client.
        if not re.fullmatch(r"[a-z0-9]+(/[a-z0-9.]+)*", key) or ".." in key:
            raise ValueError(key)
        return self.folder / key


def _settle(folder: Path) -> None:
    """Bring a folder's own list of names to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
