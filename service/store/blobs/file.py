"""Blobs as files of a folder: the database stays small."""

import re
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from service import failpoints
from service.files import fsync_file, fsync_path
from service.store import driver_errors
from service.store.blobs.blob_store import StoredBlob
from service.store_errors import StoreInputOutput, StoreMissing

TEMPORARY_PREFIX = ".new-"
TEMPORARY_PREFIXES = (TEMPORARY_PREFIX, "tmp")  # the latter of earlier versions


class FileBlobs:
    """Blobs as files. A file appears complete and durable, before the row that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        """Write a temporary file, fsync it, rename it, and fsync the folder."""
        path = self._path(key)
        try:
            self._make_folder(path.parent)
            # Left by a killed worker: another writer in this folder would hold the run's row.
            for leftover in path.parent.glob(f"{TEMPORARY_PREFIX}*"):
                leftover.unlink(missing_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=TEMPORARY_PREFIX, delete=False
            ) as file:
                try:
                    failpoints.reach("blob-temporary")
                    file.write(data)
                    file.flush()
                    failpoints.reach("blob-written")
                    fsync_file(file)
                    failpoints.reach("blob-fsynced")
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            failpoints.reach("blob-renamed")
            fsync_path(path.parent)
        except OSError as error:
            raise driver_errors.os_error_to_camreel_error(error) from error

    def get(self, key: str) -> bytes:
        """The bytes. Raises KeyError if there are none, StoreUnavailable if unreadable."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            # If the folder itself is missing, it may not be mounted: its files may still exist.
            if self.folder.is_dir():
                raise KeyError(key) from error
            raise StoreMissing("The folder of blobs does not exist.") from error
        except OSError as error:
            raise StoreInputOutput("The folder of blobs cannot be read.") from error

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the files of those keys, and folders that are empty afterwards."""
        self._unlink([self._path(key) for key in keys])

    def list_blobs(self) -> Iterator[StoredBlob]:
        """All files of the folder, by path."""
        current_time = time.time()
        for path in sorted(self.folder.rglob("*")):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # a temporary file that was renamed in the meantime
            if not stat.S_ISDIR(status.st_mode):
                name = str(path.relative_to(self.folder))
                is_temporary = path.name.startswith(TEMPORARY_PREFIXES)
                yield StoredBlob(name, status.st_size, current_time - status.st_mtime, is_temporary)

    def delete_listed(self, names: Sequence[str]) -> None:
        """Delete files by the names that `list_blobs` returns."""
        self._unlink([self.folder / name for name in names])

    @property
    def local_folders(self) -> Sequence[Path]:
        """The folder."""
        return (self.folder,)

    def _unlink(self, paths: list[Path]) -> None:
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in paths}:
                self._remove_empty_folders(folder)
        except OSError as error:
            raise driver_errors.os_error_to_camreel_error(error) from error

    def _remove_empty_folders(self, folder: Path) -> None:
        # The outermost one stays: another run may be about to create its folder in it.
        while folder.parent != self.folder and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
            fsync_path(folder.parent)

    def _path(self, key: str) -> Path:
        # Camreel itself generates all keys: no path ever comes from a client.
        if not re.fullmatch(r"[a-z0-9]+(/[a-z0-9.]+)*", key) or ".." in key:
            raise ValueError(key)
        return self.folder / key
