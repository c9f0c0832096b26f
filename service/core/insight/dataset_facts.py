"""Facts about the images and labels of a dataset that explain how a training went."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from service.core.datasets.dataset import Dataset
from service.core.datasets.pixel_cache import CachedImages

MAX_HASHED_BYTES = 2**30
"""Bytes of both splits up to which all images are hashed, about 2 seconds."""

LISTED_DUPLICATES = 100
HASHED_IMAGES = 1_000  # at a time, which bounds the memory of a cache on disk


@dataclass(frozen=True)
class DatasetFacts:
    """Class sizes, and the test images that are among the training images."""

    train_class_sizes: tuple[int, ...]
    test_class_sizes: tuple[int, ...]
    duplicates: int | None  # test images with the pixels of a training image; None: not examined
    duplicate_references: tuple[str, ...] = ()  # the first of them

    @property
    def test_size(self) -> int:
        """Number of test images."""
        return sum(self.test_class_sizes)

    @classmethod
    def of_dataset(cls, data: Dataset) -> "DatasetFacts":
        """The facts of a dataset; images are compared by the SHA-256 of their pixels."""
        classes = len(data.class_names)
        sizes = [
            tuple(split.labels.bincount(minlength=classes).tolist())
            for split in (data.train, data.test)
        ]
        images = (data.train.images, data.test.images)
        size_bytes = sum(len(part) * part[0].numel() for part in images if len(part))
        if size_bytes > MAX_HASHED_BYTES:
            return cls(sizes[0], sizes[1], None)
        train_hashes = set(_hashes(data.train.images))
        indices = [
            i for i, digest in enumerate(_hashes(data.test.images)) if digest in train_hashes
        ]
        references = tuple(f"test:{i}" for i in indices[:LISTED_DUPLICATES])
        return cls(sizes[0], sizes[1], len(indices), references)

    def to_document(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "DatasetFacts":
        """The facts of those JSON values."""
        return cls(
            tuple(document["train_class_sizes"]),
            tuple(document["test_class_sizes"]),
            document["duplicates"],
            tuple(document["duplicate_references"]),
        )


def _hashes(images: Tensor | CachedImages) -> Iterator[bytes]:
    for start in range(0, len(images), HASHED_IMAGES):
        block = images[start : start + HASHED_IMAGES].cpu().contiguous().numpy()
        for image in block:
            yield hashlib.sha256(image.tobytes()).digest()
