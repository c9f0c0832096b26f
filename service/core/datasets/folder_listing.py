"""The files of an image folder: `{train,test}/<class>/...`, or one folder per class.

`val`, `valid` and `validation` stand for a missing `test`. Symbolic links are followed inside the
folder only. Nothing is decoded here.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from service.core.datasets.dataset import SplitName
from service.errors import DatasetUnavailable
from service.names import sanitize_line

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp"})
TRAIN_FOLDERS = ("train", "training")
TEST_FOLDERS = ("test", "testing", "val", "valid", "validation")
"""Folders of test images, the preferred one first."""

MASKS = "masks"
MAX_DEPTH = 8
MAX_FILES = 1_000_000
MAX_CLASSES = 10_000
MAX_PATH_CHARACTERS = 1_000

_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""Files that operating systems add, ignored like hidden files."""


@dataclass(frozen=True)
class SkippedFile:
    """A file or folder that is not used, and why."""

    path: str  # relative to the image folder
    reason: str


@dataclass(frozen=True, slots=True)
class FileState:
    """An image file, and what changes with its content."""

    path: str  # relative to the image folder, with slashes
    class_name: str
    split: SplitName | None  # None: the folder has no test split
    bytes: int
    changed_ns: int  # time of the last change of its content, name or mode


@dataclass(frozen=True)
class FolderListing:
    """The image files in the order of their paths, and the files that are skipped."""

    files: list[FileState]
    skipped: list[SkippedFile]


def is_system_file(name: str) -> bool:
    """Whether a name is that of a hidden file, or of one that an operating system adds."""
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def list_folder(root: Path) -> FolderListing:
    """The files of the image folder. Raises DatasetUnavailable if it is missing or too large."""
    try:
        walk = _Walk(root)
        for split, name in _split_folders(root, walk.skipped):
            walk.add_split(split, name)
    except OSError as error:
        raise DatasetUnavailable(
            f"The image folder {root.name} cannot be read: {error.strerror}."
        ) from error
    files = sorted(walk.files, key=lambda file: (file.class_name, file.path))
    return FolderListing(files, sorted(walk.skipped, key=lambda file: file.path))


def _split_folders(
    root: Path, skipped: list[SkippedFile]
) -> Iterator[tuple[SplitName | None, str]]:
    """The folders that contain folders of classes, relative to the root."""
    names = {entry.name.lower(): entry.name for entry in _entries(root) if entry.is_dir()}
    train = next((names[name] for name in TRAIN_FOLDERS if name in names), None)
    tests = [names[name] for name in TEST_FOLDERS if name in names]
    if train is None:
        yield None, ""
        return
    yield ("train" if tests else None), train
    if tests:
        yield "test", tests[0]
    unused_names = sorted({*names.values()} - {train, *tests[:1]})
    skipped.extend(
        SkippedFile(sanitize_line(name), "is neither the train nor the test folder")
        for name in unused_names
        if name.lower() != MASKS
    )


class _Walk:
    """Collects the files of all splits."""

    def __init__(self, root: Path) -> None:
        self.files: list[FileState] = []
        self.skipped: list[SkippedFile] = []
        self._root = root
        self._real_root = root.resolve()
        self._class_names: set[str] = set()

    def add_split(self, split: SplitName | None, folder: str) -> None:
        """Add the files of the folder, whose folders are classes."""
        for entry in _entries(self._root / folder):
            path = os.path.join(folder, entry.name)  # noqa: PTH118  of a relative path's text
            if folder == "" and entry.name.lower() == MASKS:
                continue
            if entry.is_dir():
                self._add_class(split, path, entry.name)
            else:
                self._skip(path, "is not in the folder of a class")

    def _add_class(self, split: SplitName | None, path: str, class_name: str) -> None:
        if sanitize_line(class_name) != class_name or len(class_name) > 200:
            self._skip(path, "has a name that cannot be a class name")
            return
        self._class_names.add(class_name)
        if len(self._class_names) > MAX_CLASSES:
            raise DatasetUnavailable(
                f"The image folder {self._root.name} has more than {MAX_CLASSES} classes."
            )
        self._add_files(split, class_name, path, frozenset(), MAX_DEPTH)

    def _add_files(
        self,
        split: SplitName | None,
        class_name: str,
        folder: str,
        parents: frozenset[Path],
        depth: int,
    ) -> None:
        real_folder = (self._root / folder).resolve()
        if not real_folder.is_relative_to(self._real_root):
            return self._skip(folder, "is a symbolic link out of the image folder")
        if real_folder in parents:
            return self._skip(folder, "is a symbolic link to a folder that contains it")
        if depth == 0:
            return self._skip(folder, f"is more than {MAX_DEPTH} folders deep")
        for entry in _entries(self._root / folder):
            path = os.path.join(folder, entry.name)  # noqa: PTH118  of a relative path's text
            if entry.is_dir():
                self._add_files(split, class_name, path, parents | {real_folder}, depth - 1)
            else:
                self._add_file(split, class_name, path, entry)
        return None

    def _add_file(
        self, split: SplitName | None, class_name: str, path: str, entry: os.DirEntry[str]
    ) -> None:
        if reason := self._refusal(path, entry):
            self._skip(path, reason)
            return
        status = entry.stat()
        self.files.append(FileState(path, class_name, split, status.st_size, status.st_ctime_ns))
        if len(self.files) > MAX_FILES:
            raise DatasetUnavailable(
                f"The image folder {self._root.name} has more than {MAX_FILES} images."
            )

    def _refusal(self, path: str, entry: os.DirEntry[str]) -> str | None:
        """Why the file is not used; None if it is."""
        if sanitize_line(path) != path or len(path) > MAX_PATH_CHARACTERS:
            return "has a name with characters that are refused, or too long a one"
        if os.path.splitext(path)[1].lower() not in IMAGE_SUFFIXES:  # noqa: PTH122  of many files
            return "is not a PNG, JPEG or WebP by its name"
        if entry.is_symlink():
            # Only links: resolving every path takes most of the time of the listing.
            file = self._root / path
            if not file.resolve().is_relative_to(self._real_root):
                return "is a symbolic link out of the image folder"
            if not file.exists():
                return "is a symbolic link to nothing"
        return None if stat.S_ISREG(entry.stat().st_mode) else "is not a regular file"

    def _skip(self, path: str, reason: str) -> None:
        if len(self.skipped) < MAX_FILES:
            self.skipped.append(SkippedFile(sanitize_line(path), reason))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder by name, without hidden files and those of operating systems."""
    with os.scandir(folder) as entries:
        visible = [entry for entry in entries if not is_system_file(entry.name)]
    return sorted(visible, key=lambda entry: entry.name)
