"""Reports of datasets, and their images by class."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from service.core.datasets import DATASETS
from service.core.datasets.dataset import DatasetSource, ImageReference, SplitName, is_folder
from service.core.datasets.folder import FolderPaths, read_index
from service.core.datasets.folder_index import ClassCount, FolderIndex
from service.core.datasets.folder_listing import SkippedFile
from service.core.images import select_image, to_png
from service.core.input import InputSpec
from service.core.spec import RunSpec
from service.errors import DatasetNotFound, DatasetUnavailable, ImageNotFound, ImageRefused
from service.flows.cache import Cache
from service.flows.image_folders import ImageFolders, find_entry
from service.flows.maps.images import ImageReader
from service.flows.maps.request import find_class

SPLITS: tuple[SplitName, ...] = ("train", "test")


class DatasetStatus(StrEnum):
    """Whether a dataset can be trained on."""

    READY = "ready"
    NOT_MEASURED = "not-measured"  # a folder whose images have not been decoded
    MISSING = "missing"  # a built-in dataset whose files are not in the data directory
    UNUSABLE = "unusable"  # a folder without two classes, training and test images


@dataclass(frozen=True)
class DatasetReport:
    """What is known of a dataset."""

    name: str
    title: str
    description: str
    license: str
    bundled: bool
    status: DatasetStatus
    content_sha256: str | None  # of a folder
    image_shape: tuple[int, int, int] | None  # D, H, W; None: images of different shapes
    class_names: Sequence[str]
    train_size: int
    test_size: int
    classes: Sequence[ClassCount]  # empty: not counted
    imbalance: float | None
    duplicates: int | None
    masks: int
    skipped: Sequence[SkippedFile]
    default_input: InputSpec | None


@dataclass(frozen=True)
class DatasetImageItem:
    """An image of a dataset, its class, and its size in pixels."""

    reference: ImageReference
    class_index: int
    height: int
    width: int


class DatasetReports:
    """Reports and images of the built-in datasets and the image folders. Thread-safe."""

    def __init__(self, images: ImageReader, folders: ImageFolders, cache_bytes: int) -> None:
        self.folders = folders
        self._images = images
        self._pngs: Cache[bytes] = Cache(cache_bytes, len)

    def list_all(self) -> list[DatasetReport]:
        """All datasets, built-in ones first; nothing is loaded or measured."""
        built_in = [_report_of_source(source) for source in DATASETS.values()]
        return [*built_in, *map(self._known_report, self.folders.names())]

    def get(self, name: str) -> DatasetReport:
        """A complete report: the images of a folder are measured, those of others counted.

        Raises DatasetNotFound, DatasetUnavailable, RequestCancelled.
        """
        if is_folder(name):
            return _report_of_folder(name, self.folders.index(name))
        source = _built_in(name)
        try:
            data = self._images.load_dataset(RunSpec(dataset=name))
        except DatasetUnavailable:
            return _report_of_source(source, DatasetStatus.MISSING)
        counts = {
            split: np.bincount(data.split(split).labels.numpy(), minlength=len(source.class_names))
            for split in SPLITS
        }
        classes = [
            ClassCount(class_name, int(counts["train"][i]), int(counts["test"][i]))
            for i, class_name in enumerate(source.class_names)
        ]
        return _report_of_source(source, classes=classes)

    def list_images(
        self, name: str, split: SplitName, class_name: str | None
    ) -> list[DatasetImageItem]:
        """The images of a split, of one class or all, in the order of their references.

        `class_name` is a class's name or index. Raises DatasetNotFound, DatasetUnavailable and
        UnknownName.
        """
        class_names: Sequence[str]
        if is_folder(name):
            index = self.folders.index(name)
            class_names = index.class_names
            numbers = {class_name: i for i, class_name in enumerate(index.class_names)}
            sizes = [(entry.height, entry.width) for entry in index.split(split)]
            labels = [numbers[entry.class_name] for entry in index.split(split)]
        else:
            source = _built_in(name)
            class_names = source.class_names
            data = self._images.load_dataset(RunSpec(dataset=name))
            labels = data.split(split).labels.tolist()
            sizes = [source.image_shape[1:]] * len(labels)
        class_index = None if class_name is None else find_class("class", class_name, class_names)
        return [
            DatasetImageItem(ImageReference(split, number), label, *size)
            for number, (label, size) in enumerate(zip(labels, sizes, strict=True))
            if class_index in (None, label)
        ]

    def image_png(self, name: str, reference: str, max_side: int | None) -> bytes:
        """The original image as a PNG, scaled down if a side is longer than `max_side`.

        Raises DatasetNotFound, DatasetUnavailable, InvalidValue, ImageNotFound, UploadsBusy.
        """
        parsed = ImageReference.parse(reference)
        if not is_folder(name):
            source = _built_in(name)
            parsed.require_in(source)
            data = self._images.load_dataset(RunSpec(dataset=name))
            return to_png(select_image(data, parsed).pixels)
        index = read_index(self.folders.paths(name)) or self.folders.index(name)
        entry = find_entry(name, index, parsed)
        return self._pngs.get_or_make(
            (entry.sha256, max_side),
            lambda: self._decode(reference, self.folders.read_image(name, entry), max_side),
        )

    def _decode(self, reference: str, data: bytes, max_side: int | None) -> bytes:
        try:
            return self.folders.single_decoder.to_png(data, max_side)
        except ImageRefused as error:
            raise ImageNotFound(reference, f"its file {error}") from error

    def _known_report(self, name: str) -> DatasetReport:
        """The report of a folder as far as it was measured before."""
        index = read_index(FolderPaths.of_dataset(self.folders.data_dir, name))
        return _report_of_folder(name, index)


def _built_in(name: str) -> DatasetSource:
    if name not in DATASETS:
        raise DatasetNotFound(name)
    return DATASETS[name]


def _report_of_source(
    source: DatasetSource,
    status: DatasetStatus = DatasetStatus.READY,
    classes: Sequence[ClassCount] = (),
) -> DatasetReport:
    sizes = [count.train for count in classes]
    return DatasetReport(
        name=source.name,
        title=source.title,
        description=source.description,
        license=source.license,
        bundled=source.bundled,
        status=status,
        content_sha256=None,
        image_shape=source.image_shape,
        class_names=source.class_names,
        train_size=source.train_size,
        test_size=source.test_size,
        classes=classes,
        imbalance=max(sizes) / max(1, min(sizes)) if sizes else None,
        duplicates=None,
        masks=0,
        skipped=(),
        default_input=source.default_input,
    )


def _report_of_folder(name: str, index: FolderIndex | None) -> DatasetReport:
    values = _measured_values(index) if index is not None else _UNMEASURED_VALUES
    title = name.partition(":")[2]
    return DatasetReport(
        name=name,
        title=title,
        description=f"The image folder {title}.",
        license="",
        bundled=False,
        **values,  # type: ignore[arg-type]
    )


_UNMEASURED_VALUES: dict[str, object] = {
    "status": DatasetStatus.NOT_MEASURED,
    "content_sha256": None,
    "image_shape": None,
    "class_names": (),
    "train_size": 0,
    "test_size": 0,
    "classes": (),
    "imbalance": None,
    "duplicates": None,
    "masks": 0,
    "skipped": (),
    "default_input": None,
}


def _measured_values(index: FolderIndex) -> dict[str, object]:
    try:
        status = DatasetStatus.READY
        index.check_trainable()
    except DatasetUnavailable:
        status = DatasetStatus.UNUSABLE
    size = index.common_size
    channels = 1 if index.channels == "gray" else 3
    return {
        "status": status,
        "content_sha256": index.content_sha256,
        "image_shape": None if size is None else (channels, *size),
        "class_names": index.class_names,
        "train_size": len(index.split("train")),
        "test_size": len(index.split("test")),
        "classes": index.class_counts,
        "imbalance": index.imbalance,
        "duplicates": index.duplicates,
        "masks": index.masks,
        "skipped": index.skipped,
        "default_input": index.default_input if index.entries else None,
    }
