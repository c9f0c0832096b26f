"""Image folders: their index, kept up to date, and the caches of their resized images."""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from service.core.datasets.dataset import (
    FOLDER_NAME_PATTERN,
    FOLDER_PREFIX,
    DatasetInfo,
    ImageReference,
)
from service.core.datasets.folder import CACHE, FOLDERS, FolderPaths, read_index
from service.core.datasets.folder_index import (
    FolderIndex,
    ImageEntry,
    assign_split,
    count_masks,
    make_index,
)
from service.core.datasets.folder_listing import FileState, SkippedFile, list_folder
from service.core.datasets.pixel_cache import open_cache, write_cache
from service.core.input import InputSpec
from service.core.progress import track
from service.core.resizing import PixelArray, crop_pixels
from service.errors import (
    DatasetChanged,
    DatasetExists,
    DatasetNotFound,
    DatasetNotMeasured,
    DatasetUnavailable,
    FileRefused,
    ImageNotFound,
    ImageRefused,
)
from service.files import read_file, translate_os_errors, unfinished_folder, write_file
from service.flows.folder_decoder import MAX_IMAGE_BYTES, FolderDecoder
from service.store_errors import StoreFull

DEFAULT_CACHE_BYTES = 10 * 2**30


@dataclass(frozen=True)
class FolderLimits:
    """Limits of image folders: bytes of all their caches, and pixels of an image."""

    cache_bytes: int = DEFAULT_CACHE_BYTES
    max_pixels: int = 40_000_000


DEFAULT_LIMITS = FolderLimits()

MAX_ADDED_PIXELS = 20_000_000_000
"""Pixels of a folder that is added, about an hour and a half of decoding."""

MAX_ADDED_FAILURES = 100
"""Images of a folder that is added which cannot be decoded: each may take all the time that one
image has."""


class ImageFolders:
    """The image folders of a data directory. Thread-safe."""

    def __init__(self, data_dir: Path, limits: FolderLimits = DEFAULT_LIMITS) -> None:
        self.data_dir = data_dir
        self.decoder = FolderDecoder(limits.max_pixels)
        # In a process of its own: a request for an image waits for no folder that is measured.
        self.single_decoder = FolderDecoder(limits.max_pixels)
        self._limits = limits

    def names(self) -> list[str]:
        """Names of the datasets, `folder:<name>`, sorted."""
        try:
            entries = list((self.data_dir / FOLDERS).iterdir())
        except OSError:
            return []
        pattern = re.compile(FOLDER_NAME_PATTERN, re.ASCII)
        return sorted(
            FOLDER_PREFIX + entry.name
            for entry in entries
            if pattern.fullmatch(entry.name) and entry.is_dir()
        )

    def paths(self, dataset: str) -> FolderPaths:
        """The paths of an image folder. Raises DatasetNotFound."""
        paths = FolderPaths.of_dataset(self.data_dir, dataset)
        if dataset not in self.names():
            raise DatasetNotFound(dataset)
        return paths

    def index(self, dataset: str, *, max_measured: int | None = None) -> FolderIndex:
        """The index of the folder as it is now; only files that changed are decoded.

        Raises DatasetNotFound; DatasetUnavailable; DatasetNotMeasured if more than `max_measured`
        files would have to be decoded; RequestCancelled.
        """
        paths = self.paths(dataset)
        listing = list_folder(paths.images)
        index = self._current_index(paths, listing.files, max_measured)
        skipped = sorted({*index.skipped, *listing.skipped}, key=lambda file: file.path)
        return replace(index, skipped=tuple(skipped))

    def require_unchanged(self, dataset: str, info: DatasetInfo) -> FolderIndex:
        """The index, if the folder has the images of the run. Raises DatasetChanged, and as
        `index`.
        """
        index = self.index(dataset)
        if index.content_sha256 != info.content_sha256:
            raise DatasetChanged(dataset)
        return index

    def prepare(self, dataset: str, info: DatasetInfo, input_spec: InputSpec) -> None:
        """Make the cache of the images at their resized size, unless there is one.

        Raises as `require_unchanged`, and StoreFull if the disk is full or the cache too large.
        """
        index = self.require_unchanged(dataset, info)
        paths = FolderPaths.of_dataset(self.data_dir, dataset)
        folder = paths.pixels(info.content_sha256, input_spec)
        try:
            open_cache(folder, input_spec)
        except DatasetUnavailable:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return
        self._make_room(_cache_bytes(index.entries, input_spec))
        try:
            with unfinished_folder(paths.cache) as unfinished:
                write_cache(unfinished, self._resized_images(paths, index, input_spec))
                if not folder.exists():  # otherwise another process was faster
                    unfinished.chmod(0o755)
                    unfinished.rename(folder)
        except OSError as error:
            raise StoreFull(
                f"The cache of {dataset} cannot be written: {error.strerror}."
            ) from error

    def read_pixels(
        self, dataset: str, info: DatasetInfo, input_spec: InputSpec, reference: ImageReference
    ) -> tuple[PixelArray, int]:
        """Pixels uint8 (D, h, w) that the network sees of one image, and its class index.

        Raises ImageNotFound, DatasetChanged, DatasetNotFound, DatasetUnavailable.
        """
        index = read_index(self.paths(dataset))
        if index is None or index.content_sha256 != info.content_sha256:
            index = self.require_unchanged(dataset, info)
        # Whether this file has changed since, `read_image` checks.
        entry = find_entry(dataset, index, reference)
        data = self.read_image(dataset, entry)
        try:
            resized = self.single_decoder.resize(data, input_spec)
        except ImageRefused as error:
            raise ImageNotFound(str(reference), f"its file {error}") from error
        return crop_pixels(resized, input_spec), info.class_names.index(entry.class_name)

    def read_image(self, dataset: str, entry: ImageEntry) -> bytes:
        """The file of an image. Raises DatasetChanged if it is not the one that was measured."""
        path = FolderPaths.of_dataset(self.data_dir, dataset).images / entry.path
        try:
            data = read_file(path, MAX_IMAGE_BYTES)
        except FileRefused as error:
            raise DatasetChanged(dataset) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise DatasetChanged(dataset)
        return data

    def close(self) -> None:
        """Stop the decoders."""
        self.decoder.close()
        self.single_decoder.close()

    def _current_index(
        self, paths: FolderPaths, files: Sequence[FileState], max_measured: int | None
    ) -> FolderIndex:
        listing_sha256 = _digest(files)
        stored = read_index(paths)
        if stored is not None and stored.listing_sha256 == listing_sha256:
            return stored
        missing_count = len(files) - len(_measured_entries(stored, files))
        if max_measured is not None and missing_count > max_measured:
            raise DatasetNotMeasured(FOLDER_PREFIX + paths.name, missing_count)
        with _locked(paths):
            stored = read_index(paths)  # another process may have written it in the meantime
            if stored is not None and stored.listing_sha256 == listing_sha256:
                return stored
            index = self._measure(paths.images, files, _measured_entries(stored, files))
            index = replace(index, listing_sha256=listing_sha256)
            write_file(paths.index, index.to_json())
        return index

    def add(self, name: str, root: Path) -> FolderIndex:
        """Move a folder of images, on the same disk, to that name; returns its index.

        It is measured first: a folder that cannot be trained on, or takes too long to decode, is
        not moved. Raises DatasetExists, DatasetUnavailable, RequestCancelled.
        """
        paths = FolderPaths(self.data_dir, name)
        listing = list_folder(root)
        index = self._measure(root, listing.files, {}, is_bounded=True)
        index = replace(index, listing_sha256=_digest(listing.files))
        index.check_trainable()
        try:
            root.chmod(0o755)
            root.rename(paths.images)
        except OSError as error:
            raise DatasetExists(FOLDER_PREFIX + name) from error
        with _locked(paths):
            write_file(paths.index, index.to_json())
        return self.index(FOLDER_PREFIX + name)

    def remove(self, dataset: str) -> None:
        """Delete the folder, its index and its caches. Raises DatasetNotFound, FileRefused."""
        paths = self.paths(dataset)
        with translate_os_errors(paths.images), unfinished_folder(paths.images.parent) as trash:
            # In one step, so that no other process finds a part of it.
            paths.images.rename(trash / paths.name)
        shutil.rmtree(paths.cache, ignore_errors=True)

    def _measure(
        self,
        root: Path,
        files: Sequence[FileState],
        measured: dict[str, ImageEntry],
        *,
        is_bounded: bool = False,
    ) -> FolderIndex:
        entries: list[ImageEntry] = []
        skipped: list[SkippedFile] = []
        pixel_count = 0
        for file in track(files):
            if (known_entry := measured.get(file.path)) is not None:
                entries.append(replace(known_entry, class_name=file.class_name))
                continue
            try:
                entries.append(self._measure_file(root, file))
            except ImageRefused as error:
                skipped.append(SkippedFile(file.path, str(error)))
            else:
                pixel_count += entries[-1].height * entries[-1].width
            if is_bounded:
                _check_bounds(pixel_count, len(skipped))
        masks = count_masks(root, (entry.path for entry in entries))
        return make_index(entries, skipped, masks)

    def _measure_file(self, root: Path, file: FileState) -> ImageEntry:
        try:
            data = read_file(root / file.path, MAX_IMAGE_BYTES)
        except FileRefused as error:
            raise ImageRefused(
                f"cannot be read or has more than {MAX_IMAGE_BYTES} bytes"
            ) from error
        values = self.decoder.measure(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return ImageEntry(
            path=file.path,
            split=assign_split(file, sha256),
            class_name=file.class_name,
            sha256=sha256,
            bytes=file.bytes,
            changed_ns=file.changed_ns,
            height=values["height"],
            width=values["width"],
            is_gray=values["is_gray"],
            means=tuple(values["means"]),
            squares=tuple(values["squares"]),
        )

    def _resized_images(
        self, paths: FolderPaths, index: FolderIndex, input_spec: InputSpec
    ) -> Iterator[PixelArray]:
        dataset = FOLDER_PREFIX + paths.name
        for entry in track(index.entries):
            try:
                yield self.decoder.resize(self.read_image(dataset, entry), input_spec)
            except ImageRefused as error:
                raise DatasetUnavailable(f"The image {entry.path} of {dataset} {error}.") from error

    def _make_room(self, new_bytes: int) -> None:
        """Remove the caches that were not used for the longest time. Raises StoreFull."""
        if new_bytes > self._limits.cache_bytes:
            raise StoreFull(
                f"The cache of the images takes {new_bytes} bytes, more than the limit of "
                f"{self._limits.cache_bytes} (CAMREEL_DATASET_CACHE_BYTES)."
            )
        caches = sorted((self.data_dir / CACHE).glob("*/[!.]*-*/"), key=_used_at)
        total_bytes = sum(map(_folder_bytes, caches))
        for folder in caches:
            if total_bytes + new_bytes <= self._limits.cache_bytes:
                return
            total_bytes -= _folder_bytes(folder)
            # A run that has mapped its files still reads them.
            shutil.rmtree(folder, ignore_errors=True)


def find_entry(dataset: str, index: FolderIndex, reference: ImageReference) -> ImageEntry:
    """The entry of an image. Raises ImageNotFound."""
    entries = index.split(reference.split)
    if reference.index >= len(entries):
        raise ImageNotFound(
            str(reference), f"{reference.split} of {dataset} has images 0 to {len(entries) - 1}"
        )
    return entries[reference.index]


def _check_bounds(pixel_count: int, failure_count: int) -> None:
    """Raises DatasetUnavailable for a folder that is not to be added."""
    if pixel_count > MAX_ADDED_PIXELS:
        raise DatasetUnavailable(f"The images have more than {MAX_ADDED_PIXELS} pixels in total.")
    if failure_count > MAX_ADDED_FAILURES:
        raise DatasetUnavailable(f"More than {MAX_ADDED_FAILURES} of the images cannot be decoded.")


def _measured_entries(
    stored: FolderIndex | None, files: Sequence[FileState]
) -> dict[str, ImageEntry]:
    """The entries of files that did not change since they were measured, by path."""
    states = {file.path: file for file in files}
    entries = stored.entries if stored is not None else ()
    return {
        entry.path: entry
        for entry in entries
        if (file := states.get(entry.path)) is not None
        and (file.bytes, file.changed_ns) == (entry.bytes, entry.changed_ns)
        and assign_split(file, entry.sha256) == entry.split
    }


@contextmanager
def _locked(paths: FolderPaths) -> Iterator[None]:
    """A block that one thread of all processes executes at a time, for each folder."""
    try:
        paths.cache.mkdir(parents=True, exist_ok=True)
        with (paths.cache / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except (OSError, FileRefused) as error:
        raise DatasetUnavailable(
            f"The index of {paths.name} cannot be written: the data directory has to be writable."
        ) from error


def _digest(files: Sequence[FileState]) -> str:
    """Changes with any file of the listing."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(repr(file).encode())
    return digest.hexdigest()


def _cache_bytes(entries: Sequence[ImageEntry], input_spec: InputSpec) -> int:
    """The bytes of the images at their resized size."""
    return sum(
        input_spec.channel_count * height * width
        for height, width in (
            input_spec.resize.target_size(entry.height, entry.width) for entry in entries
        )
    )


def _used_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _folder_bytes(folder: Path) -> int:
    try:
        return sum(entry.stat().st_size for entry in os.scandir(folder))
    except OSError:
        return 0
