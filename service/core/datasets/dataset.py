"""Datasets: two splits of labeled images in memory, and their sources."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from service.core.datasets.pixel_cache import CachedImages
from service.core.input import InputSpec
from service.core.parameters import Parameters
from service.errors import ImageNotFound, InvalidValue

SplitName = Literal["train", "test"]

MAX_IMAGES = 10_000_000
"""Images per split, at most."""

FOLDER_PREFIX = "folder:"
FOLDER_NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9_.-]{0,39}"
"""Name of an image folder after FOLDER_PREFIX. The whole name is at most 47 characters long."""

_FOLDER = re.compile(FOLDER_PREFIX + FOLDER_NAME_PATTERN, flags=re.ASCII)
_UPLOAD = re.compile(r"upload:[A-Za-z0-9_-]{1,64}", flags=re.ASCII)


def is_upload(text: str) -> bool:
    """Whether an image reference is that of an upload, `upload:<id>`."""
    return _UPLOAD.fullmatch(text) is not None


def is_folder(name: str) -> bool:
    """Whether a dataset name is that of an image folder, `folder:<name>`; it may not exist."""
    return _FOLDER.fullmatch(name) is not None


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, D, H, W), 0..255, and their labels int64 (N,)."""

    images: Tensor | CachedImages
    labels: Tensor


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory or in a cache: batches are index look-ups, without a data loader."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split

    def split(self, name: SplitName) -> Split:
        """The split of that name."""
        return self.train if name == "train" else self.test


@dataclass(frozen=True)
class DatasetSource:
    """A dataset's properties, known before it is loaded.

    `load(data_dir, download)` returns the dataset or raises DatasetUnavailable.
    """

    name: str
    title: str
    description: str
    license: str
    image_shape: tuple[int, int, int]  # D, H, W
    class_names: tuple[str, ...]
    train_size: int
    test_size: int
    default_input: InputSpec
    load: Callable[[Path, bool], Dataset]
    background: int = 0  # level of the images' background, 0..255
    bundled: bool = False  # part of the installation: needs no download

    def size(self, split: SplitName) -> int:
        """Number of images of the split."""
        return self.train_size if split == "train" else self.test_size


class DatasetInfo(Parameters):
    """The properties of an image folder when a run was created, which it is explained by later."""

    content_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Hash of the names and contents of all images."""
    class_names: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]],
        Field(min_length=2, max_length=10_000),
    ]
    """Names of the classes, by class index."""
    train_size: Annotated[int, Field(ge=1, le=MAX_IMAGES)]
    """Number of training images."""
    test_size: Annotated[int, Field(ge=1, le=MAX_IMAGES)]
    """Number of test images."""


@dataclass(frozen=True)
class ImageReference:
    """One image of a dataset: `test:7` is the eighth of the test split."""

    split: SplitName
    index: int

    def __str__(self) -> str:
        return f"{self.split}:{self.index}"

    @classmethod
    def parse(cls, text: str, field: str = "image") -> "ImageReference":
        """The reference of `test:7`. Raises InvalidValue, or ImageNotFound for an upload."""
        if is_upload(text):
            raise ImageNotFound(text, "nothing was uploaded under that name")
        match = re.fullmatch(r"(train|test):(0|[1-9][0-9]{0,8})", text, flags=re.ASCII)
        if match is None:
            raise InvalidValue(
                field,
                "an image reference is test:<index> or train:<index>, as in test:7",
                allowed={"pattern": "^(train|test):(0|[1-9][0-9]{0,8})$"},
            )
        split, index = match.groups()

        return cls("train" if split == "train" else "test", int(index))

    def require_in(self, source: DatasetSource) -> "ImageReference":
        """The reference, if it is within the dataset. Raises ImageNotFound."""
        size = source.size(self.split)
        if self.index >= size:
            raise ImageNotFound(
                str(self), f"{self.split} of {source.name} has images 0 to {size - 1}"
            )
        return self
