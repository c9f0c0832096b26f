"""The file of a SQLite database: its path and its permissions."""

import logging
import os
import stat
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine

from service.errors import InvalidValue
from service.folders import make_private_folder, path_error

MAX_PATH_BYTES = 504
"""SQLite opens paths of at most 512 bytes, and appends `-journal` to this one."""

Mode = Literal["ro", "rw"]

SIDE_FILES = ("-journal", "-wal", "-shm")

log = logging.getLogger(__name__)


def prepare(file: Path, setting: str) -> None:
    """Create the file and its folder if they are missing, accessible by their owner only.

    An existing folder keeps its mode; other users lose access to an existing file. Raises
    InvalidValue for `setting` if the path cannot be that of a database.
    """
    # SQLite resolves links first, and its journal is next to the real file.
    real_path = Path(os.path.realpath(file))
    if (length := len(os.fsencode(real_path))) > MAX_PATH_BYTES:
        raise InvalidValue(
            setting,
            f"the path of the database has {length:,} bytes, and SQLite opens at most "
            f"{MAX_PATH_BYTES}",
        )
    make_private_folder(real_path.parent, setting)
    try:
        _create(real_path)
    except FileExistsError:
        _check_existing(real_path, setting)
    except OSError as error:
        raise path_error(setting, real_path, "cannot be created", error) from error


def database_file(engine: Engine) -> Path | None:
    """The SQLite file of an engine; None for a server, an in-memory database or a `file:` URI."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return None
    return Path(name)


def file_uri(file: Path, mode: Mode) -> str:
    """The file as a `file:` URI, with which SQLite does not create it."""
    return f"{file.absolute().as_uri()}?mode={mode}"


def _create(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # regardless of the umask
    finally:
        os.close(descriptor)


def _check_existing(file: Path, setting: str) -> None:
    # Not opened here: closing it would release the locks that SQLite holds in this process.
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise path_error(setting, file, "cannot be used", error) from error
    if not stat.S_ISREG(mode):
        raise InvalidValue(setting, f"{file} is not a regular file")
    for path in (file, *(file.with_name(file.name + suffix) for suffix in SIDE_FILES)):
        _restrict_access(path)


def _restrict_access(file: Path) -> None:
    """Remove all permissions of others, and the group's if it has no write permission.

    A group that can only read cannot open a database with a journal, so it does not share one.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        private = mode & ~(0o007 if mode & stat.S_IWGRP else 0o077)
        if private != mode:
            file.chmod(private)
            log.warning("other users could read %s: its mode was %o and is %o now",
                        file.name, mode, private)  # fmt: skip
    except OSError:
        return  # missing, or owned by another user
