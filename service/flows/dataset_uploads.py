"""Uploads of image folders as zip archives, and the deletion of folders."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service.core.datasets import DATASETS
from service.core.datasets.dataset import FOLDER_NAME_PATTERN, FOLDER_PREFIX
from service.core.datasets.folder import FOLDERS
from service.core.datasets.folder_archive import ArchiveLimits, extract_images, open_archive
from service.core.progress import progress_slice
from service.errors import (
    ArchiveRefused,
    DatasetExists,
    DatasetInUse,
    DatasetNotFound,
    DatasetUnavailable,
    InvalidValue,
)
from service.files import unfinished_file, unfinished_folder
from service.flows.dataset_reports import DatasetReport, DatasetReports
from service.store import runs
from service.store.run_status import RunStatus
from service.store.store import Store
from service.store_errors import StoreFull

EXTRACTION_SHARE = 0.2
"""Share of an upload's progress until its images are decoded."""


@dataclass(frozen=True)
class ReceivedArchive:
    """An archive in a file of the data directory, which `close` removes."""

    name: str  # of the folder, without its prefix
    file: IO[bytes]
    resources: ExitStack

    def close(self) -> None:
        """Remove the file."""
        self.resources.close()


class DatasetUploads:
    """Adds and deletes image folders. Thread-safe."""

    def __init__(
        self,
        store: Store,
        reports: DatasetReports,
        data_dir: Path,
        limits: ArchiveLimits,
        min_free_bytes: int,
    ) -> None:
        self._store = store
        self._reports = reports
        self._parent = data_dir / FOLDERS
        self._limits = limits
        self._min_free_bytes = min_free_bytes

    def receive(self, name: str) -> ReceivedArchive:
        """An empty file for the archive of a new folder `folder:<name>`.

        Raises InvalidValue, DatasetExists, StoreFull.
        """
        if re.fullmatch(FOLDER_NAME_PATTERN, name, re.ASCII) is None:
            raise InvalidValue(
                "name",
                "must be 1 to 40 letters, digits and _ . - and begin with a letter or digit",
                allowed={"pattern": f"^{FOLDER_NAME_PATTERN}$"},
            )
        if (self._parent / name).exists():
            raise DatasetExists(FOLDER_PREFIX + name)
        with ExitStack() as resources, self._translated_errors():
            self._parent.mkdir(parents=True, exist_ok=True)
            self._check_space(0)
            file, _ = resources.enter_context(unfinished_file(self._parent, 0o600))
            return ReceivedArchive(name, file, resources.pop_all())

    def check(self, archive: ReceivedArchive) -> None:
        """Raises ArchiveRefused for an archive that is refused by its directory alone, and
        StoreFull if its images do not fit on the disk.
        """
        with open_archive(archive.file, self._limits) as contents:
            self._check_space(sum(entry.file_size for entry in contents.images))

    def add(self, archive: ReceivedArchive) -> DatasetReport:
        """Add the folder of the archive and close the archive; its report.

        Nothing is left behind if it raises ArchiveRefused, DatasetExists, StoreFull or
        RequestCancelled.
        """
        with (
            archive.resources,
            self._translated_errors(),
            unfinished_folder(self._parent) as folder,
        ):
            with (
                progress_slice(0, EXTRACTION_SHARE),
                open_archive(archive.file, self._limits) as contents,
            ):
                root = extract_images(contents, folder)
            with progress_slice(EXTRACTION_SHARE, 1 - EXTRACTION_SHARE):
                self._reports.folders.add(archive.name, root)
        return self._reports.get(FOLDER_PREFIX + archive.name)

    def delete(self, dataset: str) -> None:
        """Delete an image folder. Runs that have ended keep their maps.

        Raises DatasetInUse for a built-in dataset and while queued or running runs need it, and
        DatasetNotFound.
        """
        if dataset in DATASETS:
            raise DatasetInUse(f"{dataset} is built in and cannot be deleted.")
        if dataset not in self._reports.folders.names():
            raise DatasetNotFound(dataset)
        if run_ids := self._active_runs(dataset):
            numbers = ", ".join(map(str, run_ids[:10]))
            raise DatasetInUse(f"{dataset} is used by runs that have not ended: {numbers}.")
        self._reports.folders.remove(dataset)

    def _active_runs(self, dataset: str) -> list[int]:
        with self._store.read_session() as session:
            active = [
                run
                for status in (RunStatus.QUEUED, RunStatus.RUNNING)
                for run in runs.list_by_status(session, status)
            ]
        return sorted(run.id for run in active if run.spec.get("dataset") == dataset)

    def _check_space(self, new_bytes: int) -> None:
        free_bytes = shutil.disk_usage(self._parent).free
        if free_bytes - new_bytes < self._min_free_bytes:
            raise StoreFull(
                f"The disk of the data directory has {free_bytes:,} bytes free, the images take "
                f"{new_bytes:,}, and {self._min_free_bytes:,} must remain free."
            )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except DatasetUnavailable as error:
            raise ArchiveRefused(str(error)) from error
        except OSError as error:
            raise StoreFull(f"The data directory cannot be written: {error.strerror}.") from error
