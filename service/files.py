"""Files that users name: read up to a size limit, and written completely or not at all."""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from service.errors import FileRefused

PREFIX, SUFFIX = ".camreel-", ".unfinished"

FILE_TYPES: dict[str, Callable[[int], bool]] = {
    "a folder": stat.S_ISDIR,
    "a pipe": stat.S_ISFIFO,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    "a socket": stat.S_ISSOCK,
}


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading. Raises FileRefused for anything else, without blocking."""
    try:
        # Otherwise a pipe would block until it has a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _file_refused(path, "cannot be read", error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise FileRefused(f"{path} is {_file_type(mode)}, not a regular file")
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a regular file. Raises FileRefused if it is larger, or no regular file."""
    with open_regular(path) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise _file_refused(path, "cannot be read", error) from error
    if len(data) > max_bytes:
        raise FileRefused(f"{path} has more than {max_bytes:,} bytes")
    return data


def write_file(path: Path, data: bytes) -> None:
    """Write a file atomically, replacing an existing one. Raises FileRefused."""
    with output_file(path) as file:
        file.write(data)


@contextmanager
def output_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces the one at `path` at the end of the block.

    A pipe or a device is written to directly. Raises FileRefused.
    """
    real_path = Path(os.path.realpath(path))
    mode = _mode(real_path)
    if mode is not None and not stat.S_ISREG(mode):
        with translate_os_errors(path), _open_stream(real_path, mode) as file:
            yield file
        return
    with translate_os_errors(path), unfinished_file(real_path.parent, 0o666) as (file, unfinished):
        if mode is not None:
            os.fchmod(file.fileno(), stat.S_IMODE(mode))
        yield file
        fsync_file(file)
        unfinished.replace(real_path)
        fsync_path(real_path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file accessible by its owner only, which gets its name at the end of the block.

    Raises FileRefused, also if `path` exists: nothing is overwritten.
    """
    check_new(path)
    folder = path.absolute().parent
    with translate_os_errors(path), unfinished_file(folder, 0o600) as (file, unfinished):
        yield file
        fsync_file(file)
        publish(unfinished, path)


def check_new(path: Path) -> None:
    """Raises FileRefused if `path` exists, or if its folder is missing."""
    if _mode(path, follow=False) is not None:
        raise FileRefused(f"{path} exists already; nothing is written over")
    if not stat.S_ISDIR(_mode(path.absolute().parent) or 0):
        raise FileRefused(f"the folder of {path} does not exist")


def check_output(path: Path) -> None:
    """Raises FileRefused if `output_file` would, to be called before the output is computed."""
    real_path = Path(os.path.realpath(path))
    mode = _mode(real_path)
    if mode is None or stat.S_ISREG(mode):
        with translate_os_errors(path), unfinished_file(real_path.parent, 0o600):
            return
    if not _is_stream(mode):
        raise FileRefused(f"{path} is {_file_type(mode)}, not a file")


@contextmanager
def unfinished_file(folder: Path, mode: int) -> Iterator[tuple[IO[bytes], Path]]:
    """A hidden file, removed at the end of the block unless it has been renamed.

    This process holds a lock on it. A file that a killed process left is removed by the next one
    that writes to the folder.
    """
    remove_leftovers(folder)
    while True:
        path = folder / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        _lock(descriptor)
        if os.fstat(
            descriptor
        ).st_nlink:  # otherwise another process removed it before it was locked
            break
        os.close(descriptor)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """A hidden folder, accessible by its owner only, as `unfinished_file`."""
    remove_leftovers(parent)
    path = parent / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
    path.mkdir(mode=0o700)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(descriptor)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def list_leftovers(folder: Path) -> list[Path]:
    """Unfinished files and folders that killed processes left in a folder."""
    try:
        names = [name for name in os.listdir(folder)  # noqa: PTH208  names may not be UTF-8
                 if name.startswith(PREFIX) and name.endswith(SUFFIX)]  # fmt: skip
    except OSError:
        return []
    return [folder / name for name in sorted(names) if not _is_locked(folder / name)]


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files and folders that killed processes left in a folder."""
    for path in list_leftovers(folder):
        remove_leftover(path)


def remove_leftover(path: Path) -> None:
    """Remove an unfinished file or folder. A missing one is no error."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        return  # owned by another user


def publish(unfinished: Path, path: Path) -> None:
    """Give a finished file its name durably. Raises FileRefused if `path` exists."""
    try:
        # A link, not a rename: it cannot replace a file that was created in the meantime.
        path.hardlink_to(unfinished)
    except FileExistsError as error:
        raise FileRefused(f"{path} exists already; nothing is written over") from error
    except OSError:
        unfinished.rename(path)  # a file system without hard links
    fsync_path(path.absolute().parent)


def fsync_path(path: Path) -> None:
    """Make a file's bytes, or the list of names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Raise FileRefused, with the path, for an OSError in the block."""
    try:
        yield
    except OSError as error:
        raise _file_refused(path, "cannot be written", error) from error


def _lock(descriptor: int) -> None:
    with suppress(
        OSError
    ):  # a file system without locks, on which leftovers are not removed either
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True  # renamed in the meantime, or owned by another user
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def fsync_file(file: IO[bytes]) -> None:
    """Flush an open file and make its bytes durable."""
    file.flush()
    os.fsync(file.fileno())


def _open_stream(path: Path, mode: int) -> IO[bytes]:
    if not _is_stream(mode):
        raise FileRefused(f"{path} is {_file_type(mode)}, not a file")
    try:
        # Otherwise opening a pipe would block until it has a reader. Writing may block.
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _file_refused(path, "cannot be written", error) from error
    os.set_blocking(descriptor, True)
    return os.fdopen(descriptor, "wb")


def _is_stream(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _mode(path: Path, *, follow: bool = True) -> int | None:
    """File type and permissions; None if there is no file. Raises FileRefused for other errors."""
    try:
        return path.stat(follow_symlinks=follow).st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _file_refused(path, "cannot be used", error) from error


def _file_type(mode: int) -> str:
    matching = (name for name, matches in FILE_TYPES.items() if matches(mode))
    return next(matching, "something else")


def _file_refused(path: Path, verb: str, error: OSError | ValueError) -> FileRefused:
    return FileRefused(f"{path} {verb}: {getattr(error, 'strerror', None) or error}")
