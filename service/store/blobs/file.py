"""Blobs as files of a folder, for databases that should stay small."""

import os
import re
import tempfile
from pathlib import Path

from sqlalchemy.orm import Session

from service.errors import StoreFull


class FileBlobs:
    """Blobs as files. A file appears whole, on disk, before the row that names it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, session: Session, key: str, data: bytes) -> None:  # noqa: ARG002
        """Keep `data`: a temporary file, fsync, rename, fsync of the folder."""
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
                try:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(path)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreFull("The checkpoint could not be written to the blob folder.") from error

    def get(self, session: Session, key: str) -> bytes:  # noqa: ARG002
        """The bytes. Raises KeyError if there are none."""
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise KeyError(key) from error

    def delete(self, session: Session, keys: list[str]) -> None:  # noqa: ARG002
        """Forget those keys, and folders that are empty then."""
        for path in map(self._path, keys):
            path.unlink(missing_ok=True)
        for parent in {self._path(key).parent for key in keys}:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()

    def _path(self, key: str) -> Path:
        # Keys are ours alone, and of this form: no path ever comes from a client.
        if not re.fullmatch(r"[a-z0-9]+(/[a-z0-9.]+)*", key) or ".." in key:
            raise ValueError(key)
        return self.folder / key
