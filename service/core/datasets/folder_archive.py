"""Zip archives of image folders: examined completely before anything is written.

The bytes are not trusted. What the archive's directory states is checked first; while files are
written, their actual sizes are. Nothing but regular files and folders is made, below the given
folder.
"""

import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from service.core.datasets.folder_listing import (
    IMAGE_SUFFIXES,
    MAX_DEPTH,
    MAX_PATH_CHARACTERS,
    TEST_FOLDERS,
    TRAIN_FOLDERS,
    is_system_file,
)
from service.core.progress import track
from service.errors import ArchiveRefused
from service.names import sanitize_line

ARCHIVE_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar"}
)
MAX_RATIO = 100
"""Expanded by compressed bytes of a file, beyond RATIO_FREE_BYTES."""

RATIO_FREE_BYTES = 2**20
MAX_DIRECTORY_BYTES = 2**25
COPY_BYTES = 2**18

_ENTRY = struct.Struct("<4s24x3H12x")  # signature; lengths of name, extra field and comment
_END = struct.Struct("<4s4H2LH")
_END_SEARCH_BYTES = _END.size + 2**16
_ENCRYPTED_FLAG = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold."""

    files: int = 65_535  # the most that an archive holds without the 64-bit format
    expanded_bytes: int = 8 * 2**30
    file_bytes: int = 64 * 2**20


DEFAULT_ARCHIVE_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class Archive:
    """An archive that was examined, and those of its files that are images."""

    zip_file: zipfile.ZipFile
    images: Sequence[zipfile.ZipInfo]
    limits: ArchiveLimits


@contextmanager
def open_archive(
    file: IO[bytes], limits: ArchiveLimits = DEFAULT_ARCHIVE_LIMITS
) -> Iterator[Archive]:
    """The archive, with all its entries checked. Raises ArchiveRefused."""
    _check_directory(file, limits)
    try:
        with zipfile.ZipFile(file) as zip_file:
            yield Archive(zip_file, list(_checked_images(zip_file.infolist(), limits)), limits)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise ArchiveRefused(f"The file is not a readable zip archive: {error}.") from error


def extract_images(archive: Archive, folder: Path) -> Path:
    """Write the images below an empty folder; the folder that holds their splits or classes.

    Raises ArchiveRefused, RequestCancelled, and OSError if the disk is full.
    """
    remaining_bytes = archive.limits.expanded_bytes
    for entry in track(archive.images):
        target = folder.joinpath(*_parts(entry.filename))
        target.parent.mkdir(parents=True, exist_ok=True)
        limit = min(remaining_bytes, archive.limits.file_bytes, entry.file_size)
        remaining_bytes -= _write_entry(archive.zip_file, entry, target, limit)
    return _folder_of_classes(folder)


def _check_directory(file: IO[bytes], limits: ArchiveLimits) -> None:
    """Count the entries of the directory before they are parsed. Raises ArchiveRefused."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_SEARCH_BYTES))
    tail = file.read(_END_SEARCH_BYTES)
    position = tail.rfind(b"PK\5\6")
    if position < 0 or len(tail) - position < _END.size:
        raise ArchiveRefused("The file is not a zip archive, or it is incomplete.")
    *_, directory_bytes, directory_start, _ = _END.unpack_from(tail, position)
    has_locator = tail[max(0, position - 20) :].startswith(b"PK\6\7")
    if has_locator or 0xFFFFFFFF in (directory_bytes, directory_start):
        raise ArchiveRefused(
            "The archive is of the 64-bit format: it has more than 65,535 entries or 4 GiB."
        )
    if directory_bytes > MAX_DIRECTORY_BYTES:
        raise ArchiveRefused("The names in the archive are too long.")
    # What precedes the archive, as in a self-extracting one, shifts its offsets.
    end = max(0, size - _END_SEARCH_BYTES) + position
    file.seek(max(0, end - directory_bytes))
    count = 0
    while file.tell() < end:
        entry = file.read(_ENTRY.size)
        if len(entry) < _ENTRY.size or not entry.startswith(b"PK\1\2"):
            break
        count += 1
        if count > limits.files:
            raise ArchiveRefused(f"The archive has more than {limits.files} entries.")
        _, *lengths = _ENTRY.unpack(entry)
        file.seek(sum(lengths), 1)
    file.seek(0)


def _checked_images(
    entries: Sequence[zipfile.ZipInfo], limits: ArchiveLimits
) -> Iterator[zipfile.ZipInfo]:
    """The entries that are images. Raises ArchiveRefused for an entry that is not safe."""
    files: set[str] = set()
    folders: set[str] = set()
    expanded_bytes = 0
    for entry in entries:
        name = _checked_name(entry)
        path = PurePosixPath(unicodedata.normalize("NFC", name))
        folders.update(str(parent) for parent in path.parents)
        if entry.is_dir():
            folders.add(str(path))
            continue
        if str(path) in files:
            raise ArchiveRefused(f"The archive has {_shown(name)} twice.")
        files.add(str(path))
        if any(is_system_file(part) for part in path.parts):
            continue
        _check_file(entry, limits)
        expanded_bytes += entry.file_size
        if expanded_bytes > limits.expanded_bytes:
            raise ArchiveRefused(f"The archive expands to more than {limits.expanded_bytes} bytes.")
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield entry
    if conflicts := files & folders:
        raise ArchiveRefused(f"The archive has {_shown(min(conflicts))} as a file and a folder.")


def _checked_name(entry: zipfile.ZipInfo) -> str:
    # `filename` ends at the first NUL, and has slashes for backslashes on some systems.
    name = entry.orig_filename
    mode = entry.external_attr >> 16
    parts = _parts(name)
    problems = {
        "has a name with a NUL": "\0" in name,
        "has a name with characters that are refused": sanitize_line(name) != name,
        "has a name with a backslash": "\\" in name,
        "has an absolute path": name.startswith("/") or re.match(r"[A-Za-z]:", name) is not None,
        "leads out of its folder": ".." in parts,
        "has an empty name": not parts or "." in parts or "" in name.rstrip("/").split("/"),
        f"is more than {MAX_DEPTH + 3} folders deep": len(parts) > MAX_DEPTH + 3,
        "has too long a name": len(name) > MAX_PATH_CHARACTERS
        or any(len(part.encode()) > 255 for part in parts),
        "is neither a file nor a folder": stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR),
    }
    for problem, holds in problems.items():
        if holds:
            raise ArchiveRefused(f"The entry {_shown(name)} of the archive {problem}.")
    return name


def _check_file(entry: zipfile.ZipInfo, limits: ArchiveLimits) -> None:
    suffix = PurePosixPath(entry.filename).suffix.lower()
    allowed_bytes = RATIO_FREE_BYTES + MAX_RATIO * entry.compress_size
    problems = {
        "is itself an archive": suffix in ARCHIVE_SUFFIXES,
        "is encrypted": bool(entry.flag_bits & _ENCRYPTED_FLAG),
        "is compressed by another method than deflate": entry.compress_type not in _METHODS,
        f"expands to more than {limits.file_bytes} bytes": entry.file_size > limits.file_bytes,
        f"expands to more than {MAX_RATIO} times its size": entry.file_size > allowed_bytes,
    }
    for problem, holds in problems.items():
        if holds:
            raise ArchiveRefused(f"The entry {_shown(entry.filename)} of the archive {problem}.")


def _write_entry(
    zip_file: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int
) -> int:
    """Write a file of at most `limit` bytes; returns its size. Raises ArchiveRefused."""
    size = 0
    try:
        with zip_file.open(entry) as source, target.open("xb") as file:
            while chunk := source.read(COPY_BYTES):
                size += len(chunk)
                if size > limit:
                    raise ArchiveRefused(
                        f"The entry {_shown(entry.filename)} of the archive is larger than it "
                        "states, or the archive expands to too many bytes."
                    )
                file.write(chunk)
    except (zipfile.BadZipFile, zlib.error, EOFError, FileExistsError, RuntimeError) as error:
        raise ArchiveRefused(
            f"The entry {_shown(entry.filename)} of the archive is damaged."
        ) from error
    return size


def _folder_of_classes(folder: Path) -> Path:
    """The folder below which the splits or classes lie: archives often have a single root."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or entries[0].name.lower() in (*TRAIN_FOLDERS, *TEST_FOLDERS):
        return folder
    has_folders = entries[0].is_dir() and any(entry.is_dir() for entry in entries[0].iterdir())
    return _folder_of_classes(entries[0]) if has_folders else folder


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part]


def _shown(name: str) -> str:
    """The name for a message, without control characters and of bounded length."""
    return sanitize_line(name)[:100]
