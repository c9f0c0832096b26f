"""Image folders as datasets: `folder:<name>`, read from a cache of resized images."""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import torch

from service.core.datasets.dataset import (
    FOLDER_PREFIX,
    Dataset,
    DatasetInfo,
    DatasetSource,
    Split,
)
from service.core.datasets.folder_index import FolderIndex
from service.core.datasets.pixel_cache import open_cache
from service.core.input import Crop, InputSpec, Resize
from service.errors import DatasetUnavailable

FOLDERS, CACHE, INDEX = "folders", "cache", "index.json"

FOLDER_INPUT = InputSpec(
    resize=Resize(mode="shorter", size=[256]),
    crop=Crop(size=[224]),
    mean=[0.485, 0.456, 0.406],
    std=[0.229, 0.224, 0.225],
)
"""ImageNet's, as of torchvision's networks: for a folder whose images were not measured."""


@dataclass(frozen=True)
class FolderPaths:
    """Where an image folder, its index and its caches lie."""

    data_dir: Path
    name: str  # without FOLDER_PREFIX

    @classmethod
    def of_dataset(cls, data_dir: Path, dataset: str) -> "FolderPaths":
        """The paths of `folder:<name>`."""
        return cls(data_dir, dataset.removeprefix(FOLDER_PREFIX))

    @property
    def images(self) -> Path:
        """The folder of the images."""
        return self.data_dir / FOLDERS / self.name

    @property
    def cache(self) -> Path:
        """The folder of the index and the caches."""
        return self.data_dir / CACHE / self.name

    @property
    def index(self) -> Path:
        """The file of the index."""
        return self.cache / INDEX

    def pixels(self, content_sha256: str, input_spec: InputSpec) -> Path:
        """The folder of a cache: content and resizing determine its pixels."""
        return self.cache / f"{content_sha256[:16]}-{input_spec.resize_key}"


def read_index(paths: FolderPaths) -> FolderIndex | None:
    """The stored index; None if there is none that can be read."""
    try:
        status = paths.index.stat()
        # A new index is another file, as it replaces the former one.
        return _parsed_index(paths.index, status.st_ino, status.st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@lru_cache(maxsize=4)
def _parsed_index(file: Path, inode: int, modified_ns: int) -> FolderIndex:  # noqa: ARG001
    """The index, kept in memory: requests for single images need it, and it may be large."""
    return FolderIndex.from_json(file.read_bytes())


def folder_source(dataset: str, info: DatasetInfo, input_spec: InputSpec) -> DatasetSource:
    """The image folder with the images that a network of this input sees."""
    name = dataset.removeprefix(FOLDER_PREFIX)
    return DatasetSource(
        name=dataset,
        title=name,
        description=f"The image folder {name}.",
        license="",
        image_shape=input_spec.image_shape,
        class_names=tuple(info.class_names),
        train_size=info.train_size,
        test_size=info.test_size,
        default_input=input_spec,
        load=partial(_load, dataset, info, input_spec),
    )


def _load(
    dataset: str,
    info: DatasetInfo,
    input_spec: InputSpec,
    data_dir: Path,
    download: bool,  # noqa: ARG001  the signature of all datasets
) -> Dataset:
    """The images of the cache, which `flows/datasets.py` makes."""
    paths = FolderPaths.of_dataset(data_dir, dataset)
    index = read_index(paths)
    if index is None or index.content_sha256 != info.content_sha256:
        raise DatasetUnavailable(
            f"The images of {dataset} are not those that the run was created with."
        )
    images = open_cache(paths.pixels(info.content_sha256, input_spec), input_spec)
    class_indices = {name: number for number, name in enumerate(info.class_names)}
    labels = torch.tensor([class_indices[entry.class_name] for entry in index.entries])
    train = slice(0, info.train_size)
    test = slice(info.train_size, info.train_size + info.test_size)
    return Dataset(
        dataset,
        tuple(info.class_names),
        Split(images.select(train), labels[train]),
        Split(images.select(test), labels[test]),
    )
