"""The file of a SQLite database: where it can be, and who can read it."""

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
    """Create the file and its folder where they are missing, for their owner alone.

    A folder that exists keeps its mode; a file that others can read is closed to them. Raises
    InvalidValue, for the setting that names the place, where a database cannot be there.
    """
    # SQLite resolves links before it opens, and its journal is beside the real file.
    real = Path(os.path.realpath(file))
    if (length := len(os.fsencode(real))) > MAX_PATH_BYTES:
        raise InvalidValue(
            setting,
            f"the path of the database has {length:,} bytes, and SQLite opens at most "
            f"{MAX_PATH_BYTES}",
        )
    make_private_folder(real.parent, setting)
    try:
        _create(real)
    except FileExistsError:
        _check_existing(real, setting)
    except OSError as error:
        raise path_error(setting, real, "cannot be created", error) from error


def database_file(engine: Engine) -> Path | None:
    """The SQLite file of an engine; None for a server, a database in memory and a `file:` URI."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return None
    return Path(name)


def file_uri(file: Path, mode: Mode) -> str:
    """The file as a `file:` URI of SQLite's, which then creates none."""
    return f"{file.absolute().as_uri()}?mode={mode}"


def _create(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask left of it
    finally:
        os.close(descriptor)


def _check_existing(file: Path, setting: str) -> None:
    # Never opened here: closing it would drop the locks that SQLite holds in this process.
    try:
        mode = file.stat().st_mode
    except OSError as error:
        raise path_error(setting, file, "cannot be used", error) from error
    if not stat.S_ISREG(mode):
        raise InvalidValue(setting, f"{file} is not a regular file")
    for one in (file, *(file.with_name(file.name + suffix) for suffix in SIDE_FILES)):
        _close_to_others(one)


def _close_to_others(file: Path) -> None:
    """Take away what others may do, and what the group may where it cannot write: reading alone
    opens no database that has a journal, so nobody shares one that way.
    """
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        private = mode & ~(0o007 if mode & stat.S_IWGRP else 0o077)
        if private != mode:
            file.chmod(private)
            log.warning("other users could read %s: its mode was %o and is %o now",
                        file.name, mode, private)  # fmt: skip
    except OSError:
        return  # not there, or another user's
